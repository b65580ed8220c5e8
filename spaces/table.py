"""The search spaces by name, and how they compose: `losses+optimizers`, `joint`, `losses+FILE.py:FUNCTION`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from spaces import augmentations, encoders, losses, optimizers, oversampling, own, schedulers
from spaces.first_trials import first_trials
from spaces.parts import Params, Part, Scope
from trainable.spelling import nearest

JOINT = "joint"
"""All spaces at once."""

NONE = "none"
"""Nothing varies: one trial of what the search would leave as it is."""

GIVEN = "given"
"""Configs are given one by one, as `--promote` takes them from an earlier run; no command line names this space."""


@dataclass(frozen=True)
class Space:
    """What a search may vary.

    `sample` is a pure function of an Optuna trial. It returns the parts of a trial's config that it decides; what it
    leaves out has the search's value.
    """

    sample: Callable[[optuna.Trial], dict[str, Any]]
    first_trials: tuple[Params, ...]
    """To try before anything else: the reference recipe first, the best known last."""
    own: tuple[str, ...] = ()
    """Names of the functions of the user's own that it is made of."""


def _encoders(scope: Scope) -> Part:
    best = None if scope.gpu else encoders.best(scope.models)
    first = [{**params, "lr": 1e-4} for params in encoders.first_trials(scope.models)]
    first += [best] if best else []
    pretrained = scope.pretrained and scope.by_kind
    return Part(lambda trial, _: encoders.encoders(trial, scope.models, scope.strides, pretrained), tuple(first), True)


def _augmentations(scope: Scope) -> Part:
    sizes, tiles, sides = scope.image_sizes, scope.tile_sizes, scope.sides
    own = {"image_size": sizes[0], **({"tile_size": tiles[0]} if tiles else {}), **({"flips": True} if sides else {})}
    first = tuple({**own, **params} for params in _first(augmentations, scope))
    return Part(lambda trial, _: augmentations.augmentations(trial, sizes, tiles, sides), first)


def _optimizers(scope: Scope) -> Part:
    offered, sizes = (scope.pretrained, scope.freeze_shares), scope.batch_sizes
    first = optimizers.first_trials(*offered, best=not scope.gpu)
    own = {"batch_size": sizes[0]} if sizes else {}
    return Part(
        lambda trial, transformer: optimizers.optimizers(trial, *offered, transformer, sizes),
        tuple({**params, **own} for params in first),
    )


def _schedulers(scope: Scope) -> Part:
    return Part(lambda trial, _: schedulers.schedulers(trial, scope.epochs), _first(schedulers, scope), True)


def _first(module: Any, scope: Scope) -> tuple[Params, ...]:
    """Return a space's first trials: what a CPU has liked best at small sizes is not for GPUs."""
    return module.FIRST_TRIALS if scope.gpu else (*module.FIRST_TRIALS, module.BEST)


SPACES: dict[str, Callable[[Scope], Part]] = {
    "encoders": _encoders,
    "losses": lambda scope: Part(lambda trial, _: losses.losses(trial), _first(losses, scope), True),
    "optimizers": _optimizers,
    "schedulers": _schedulers,
    "oversampling": lambda scope: Part(
        lambda trial, _: oversampling.oversampling(trial, scope.background), _first(oversampling, scope)
    ),
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
    parts = {name: _own(name) if own.is_own(name) else SPACES[name](scope) for name in names}
    rate = any(part.samples_rate for part in parts.values()) and "optimizers" not in names

    def sample(trial: optuna.Trial) -> dict[str, Any]:
        # The encoder decides which rates the others choose from, so it is drawn first.
        config = parts["encoders"].sample(trial, False) if "encoders" in parts else {}
        transformer = scope.draws_transformer(config)
        if rate:
            config |= optimizers.learning_rate(trial, transformer)
        for name, part in parts.items():
            if name != "encoders":
                config |= part.sample(trial, transformer)
        return config

    chooses = "encoders" in names
    first = first_trials(list(parts.values()), sample, scope, rate=rate, chooses=chooses)
    return Space(sample, first, own=tuple(name for name in names if own.is_own(name)))


def _own(name: str) -> Part:
    drawn = own.sampler(name)
    return Part(lambda trial, _: drawn(trial), own.first_trials(name))


def _given(configs: dict[str, dict[str, Any]]) -> Space:
    def sample(trial: optuna.Trial) -> dict[str, Any]:
        return dict(configs[trial.suggest_categorical("promoted", tuple(configs))])

    return Space(sample, tuple({"promoted": name} for name in configs))


def _nearest(name: str) -> str:
    near = nearest(name, [*SPACES, JOINT])
    return f", did you mean {near[0]!r}" if near else ""
