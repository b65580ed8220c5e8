"""The search spaces by name, and how they compose: `losses+optimizers`, `joint`, `losses+FILE.py:FUNCTION`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna

from spaces import augmentations, encoders, losses, optimizers, oversampling, own, rates, schedulers
from trainable.spelling import nearest

JOINT = "joint"
"""All spaces at once."""

NONE = "none"
"""Nothing varies: one trial of what the search would leave as it is."""

GIVEN = "given"
"""Configs are given one by one, as `--promote` takes them from an earlier run; no command line names this space."""

Params = dict[str, Any]
"""Values by the names they are sampled by."""

Given = tuple[tuple[str, dict[str, Any]], ...]
"""Where each given config comes from, and its parts."""


@dataclass(frozen=True)
class Scope:
    """What a run can offer to the spaces that depend on it."""

    models: tuple[encoders.Model, ...] = ()  # that can be built at every image size
    strides: encoders.Strides = field(default_factory=lambda: dict(encoders.STRIDES))  # that all these models take
    image_sizes: tuple[int, ...] = ()  # pixels per side, the run's own first
    pretrained: bool = True  # whether the encoders begin with weights
    freeze_shares: tuple[float, ...] = optimizers.FREEZE_SHARES  # of the budget, for which these may be frozen
    epochs: int = 100  # of a trial's full budget
    given: Given = ()  # configs, where they are given


@dataclass(frozen=True)
class Space:
    """What a search may vary.

    `sample` is a pure function of an Optuna trial. It returns the parts of a trial's config that it decides; what it
    leaves out has the search's value.
    """

    sample: Callable[[optuna.Trial], dict[str, Any]]
    first_trials: tuple[Params, ...]
    """To try before anything else: the reference recipe first, the best known last."""
    samples_rate: bool = False
    """Whether it samples AdamW's learning rate too, as long as no other space decides on the optimizer."""
    own: tuple[str, ...] = ()
    """Names of the functions of the user's own that it is made of."""


def _encoders(scope: Scope) -> Space:
    best = encoders.best(scope.models)
    first = [{**params, "lr": 1e-4} for params in encoders.first_trials(scope.models)]
    first += [best] if best else []
    return Space(lambda trial: encoders.encoders(trial, scope.models, scope.strides), tuple(first), samples_rate=True)


def _augmentations(scope: Scope) -> Space:
    sizes = scope.image_sizes
    first = tuple({"image_size": sizes[0], **params} for params in (*augmentations.FIRST_TRIALS, augmentations.BEST))
    return Space(lambda trial: augmentations.augmentations(trial, sizes), first)


def _optimizers(scope: Scope) -> Space:
    offered = scope.pretrained, scope.freeze_shares
    return Space(lambda trial: optimizers.optimizers(trial, *offered), optimizers.first_trials(*offered))


def _schedulers(scope: Scope) -> Space:
    first = (*schedulers.FIRST_TRIALS, schedulers.BEST)
    return Space(lambda trial: schedulers.schedulers(trial, scope.epochs), first, samples_rate=True)


def _plain(sample: Callable[[optuna.Trial], dict[str, Any]], module: Any, **options: Any) -> Callable[[Scope], Space]:
    return lambda scope: Space(sample, (*module.FIRST_TRIALS, module.BEST), **options)


SPACES: dict[str, Callable[[Scope], Space]] = {
    "encoders": _encoders,
    "losses": _plain(losses.losses, losses, samples_rate=True),
    "optimizers": _optimizers,
    "schedulers": _schedulers,
    "oversampling": _plain(oversampling.oversampling, oversampling),
    "augmentations": _augmentations,
}


def space_names(space: str) -> tuple[str, ...]:
    """Return the names in `losses+optimizers`; `joint` is all of them, `none` has none.

    Raises:
        ValueError: a name that is none, or one that comes twice.
    """
    if space == NONE:
        return ()
    names = tuple(SPACES) if space == JOINT else tuple(space.split("+"))
    for name in names:
        if not name:
            raise ValueError(f"--space {space!r} has a + without a space beside it: write it as losses+optimizers")
        if name in (JOINT, NONE):
            what = "all spaces" if name == JOINT else "no space"
            raise ValueError(f"--space {space}: {name} is {what}: use it alone")
        if name not in SPACES and not own.is_own(name):
            choices = ", ".join([*SPACES, JOINT, NONE])
            advice = "join several by +, or name a function of yours as FILE.py:FUNCTION"
            raise ValueError(f"unknown space {name!r}{_nearest(name)}; the spaces are: {choices}; {advice}")
    if len(set(names)) < len(names):
        raise ValueError(f"--space {space} names a space twice")
    return names


def unknown_functions(space: str) -> list[str]:
    """Return which functions of the user's own a space needs and this process was not given."""
    names = () if space == GIVEN else space_names(space)
    return [name for name in names if own.is_own(name) and not own.is_known(name)]


def find_space(space: str, scope: Scope) -> Space:
    """Return a space, or the composition of several, for what a run can offer.

    Raises:
        ValueError: there is none of that name, or a space is left without a choice.
    """
    if space == GIVEN:
        return _given(dict(scope.given))
    names = space_names(space)
    if "encoders" in names and not scope.models:
        raise ValueError("no pair of architecture and encoder is left in the space")
    parts = [_own(name) if own.is_own(name) else SPACES[name](scope) for name in names]
    rate = any(part.samples_rate for part in parts) and "optimizers" not in names

    def sample(trial: optuna.Trial) -> dict[str, Any]:
        config = rates.learning_rate(trial) if rate else {}
        for part in parts:
            config |= part.sample(trial)
        return config

    return Space(sample, _first_trials(parts, rate), own=tuple(name for name in names if own.is_own(name)))


def _own(name: str) -> Space:
    return Space(own.sampler(name), own.first_trials(name), own=(name,))


def _given(configs: dict[str, dict[str, Any]]) -> Space:
    def sample(trial: optuna.Trial) -> dict[str, Any]:
        return dict(configs[trial.suggest_categorical("promoted", tuple(configs))])

    return Space(sample, tuple({"promoted": name} for name in configs))


def _first_trials(parts: list[Space], rate: bool) -> tuple[Params, ...]:
    """Return the parts' first trials merged: all references, all seconds, ... and all winners."""
    parts = [part for part in parts if part.first_trials]
    longest = max((len(part.first_trials) for part in parts), default=0)
    trials: list[Params] = []
    for index in range(longest):
        merged: Params = {}
        for part in parts:
            # The last of each, its winner, goes with the others' winners.
            last = len(part.first_trials) - 1
            values = part.first_trials[last if index == longest - 1 else min(index, max(last - 1, 0))]
            # Where another space decides on the optimizer, none has use for AdamW's rate.
            merged |= {name: value for name, value in values.items() if rate or not part.samples_rate or name != "lr"}
        if merged not in trials:
            trials.append(merged)
    return tuple(trials)


def _nearest(name: str) -> str:
    near = nearest(name, [*SPACES, JOINT])
    return f", did you mean {near[0]!r}" if near else ""
