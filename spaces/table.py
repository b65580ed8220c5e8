"""The search spaces by name, and how they compose: `losses+optimizers`, `joint`, `losses+FILE.py:FUNCTION`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna

from spaces import augmentations, encoders, losses, optimizers, oversampling, own, rates, schedulers
from spaces.recipes import RECIPES
from trainable.encoder_families import is_transformer, takes_drop_path
from trainable.spelling import nearest

JOINT = "joint"
"""All spaces at once."""

NONE = "none"
"""Nothing varies: one trial of what the search would leave as it is."""

GIVEN = "given"
"""Configs are given one by one, as `--promote` takes them from an earlier run; no command line names this space."""

Params = dict[str, Any]
"""Values by the names they are sampled by."""

Drawn = Callable[[optuna.Trial, bool], dict[str, Any]]
"""Samples a part for a trial whose encoder is, or is not, a pretrained transformer."""

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
    encoder: str = ""  # where no space chooses one
    by_kind: bool = True  # whether transformers have ranges of their own, as all runs have that began with them
    gpu: bool = False  # whether it trains on GPUs
    batch_sizes: tuple[int, ...] = ()  # photos per step, where they are to choose from


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


@dataclass(frozen=True)
class Part:
    """One of the spaces that a run is made of."""

    sample: Drawn
    first_trials: tuple[Params, ...]
    samples_rate: bool = False
    """Whether it samples AdamW's learning rate too, as long as no other space decides on the optimizer."""


def _encoders(scope: Scope) -> Part:
    best = None if scope.gpu else encoders.best(scope.models)
    first = [{**params, "lr": 1e-4} for params in encoders.first_trials(scope.models)]
    first += [best] if best else []
    pretrained = scope.pretrained and scope.by_kind
    return Part(lambda trial, _: encoders.encoders(trial, scope.models, scope.strides, pretrained), tuple(first), True)


def _augmentations(scope: Scope) -> Part:
    sizes = scope.image_sizes
    first = tuple({"image_size": sizes[0], **params} for params in _first(augmentations, scope))
    return Part(lambda trial, _: augmentations.augmentations(trial, sizes), first)


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
    "oversampling": lambda scope: Part(lambda trial, _: oversampling.oversampling(trial), _first(oversampling, scope)),
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
        transformer = _is_transformer(config, scope)
        if rate:
            config |= rates.learning_rate(trial, transformer)
        for name, part in parts.items():
            if name != "encoders":
                config |= part.sample(trial, transformer)
        return config

    first = tuple(_for_kind(params, scope, "encoders" in names) for params in _first_trials(list(parts.values()), rate))
    if scope.gpu:
        public = _public_recipes(sample, scope, "encoders" in names)
        first = (*public, *(params for params in first if params not in public))
    return Space(sample, first, own=tuple(name for name in names if own.is_own(name)))


def _is_transformer(config: dict[str, Any], scope: Scope) -> bool:
    """Tell whether what has been drawn so far, or what the run is given, is a transformer with weights."""
    return scope.by_kind and scope.pretrained and is_transformer(config.get("encoder", scope.encoder))


def _for_kind(params: Params, scope: Scope, chooses: bool) -> Params:
    """Return a first trial in the terms of its encoder's kind: a transformer's rates, and all its layers at one."""
    encoder = next((value for name, value in params.items() if name.endswith("encoder")), scope.encoder)
    if not _is_transformer({"encoder": encoder}, scope):
        return params
    named: Params = {}
    for name, value in params.items():
        if name == "lr" or name.endswith("_lr"):
            limits = rates.ADAMW if name == "lr" else optimizers.RATES[name.removesuffix("_lr")]
            named[rates.rate_name(name, True)] = rates.in_range(value, *limits, True)
        else:
            named[name] = value
    if chooses:
        named |= {"layer_decay": 1.0} | ({"drop_path": 0.0} if takes_drop_path(encoder) else {})
    return named


def _public_recipes(
    sample: Callable[[optuna.Trial], dict[str, Any]], scope: Scope, chooses: bool
) -> tuple[Params, ...]:
    """Return the recipes that a run can follow, as far as its space decides on what they say.

    Args:
        sample: of the space.
        scope: of the run.
        chooses: whether the space chooses the encoder; where it does not, recipes for others' kind are none of its.
    """
    points: list[Params] = []
    for recipe in RECIPES:
        values = dict(recipe.values)
        fitting = [encoder for encoder in recipe.encoders if (recipe.architecture, encoder) in scope.models]
        transformer = is_transformer(recipe.encoders[0])
        if transformer and not (scope.pretrained and scope.by_kind):
            continue
        if not fitting if chooses else transformer != _is_transformer({}, scope):
            continue
        if chooses:
            values |= encoders.point(scope.models, recipe.architecture, fitting[0])
        for name in ("lr", f"{values['optimizer']}_lr"):
            values[rates.rate_name(name, transformer)] = recipe.values["lr"]
        if scope.image_sizes:
            values["image_size"] = min(scope.image_sizes, key=lambda size: abs(size - recipe.image_size))
        if scope.batch_sizes:
            values["batch_size"] = scope.batch_sizes[0]
        asked = optuna.trial.FixedTrial(values)
        sample(asked)  # type: ignore[arg-type]  # it has all that a space may ask
        points.append(dict(asked.params))
    return tuple(points)


def _own(name: str) -> Part:
    drawn = own.sampler(name)
    return Part(lambda trial, _: drawn(trial), own.first_trials(name))


def _given(configs: dict[str, dict[str, Any]]) -> Space:
    def sample(trial: optuna.Trial) -> dict[str, Any]:
        return dict(configs[trial.suggest_categorical("promoted", tuple(configs))])

    return Space(sample, tuple({"promoted": name} for name in configs))


def _first_trials(parts: list[Part], rate: bool) -> tuple[Params, ...]:
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
