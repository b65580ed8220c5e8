"""What a search tries before anything else: the parts' own first trials, and on GPUs recipes that won in public."""

from collections.abc import Callable
from typing import Any

import optuna

from spaces import encoders, optimizers
from spaces.parts import Params, Part, Scope
from spaces.recipes import RECIPES
from trainable.encoder_families import is_transformer, takes_drop_path


def first_trials(
    parts: list[Part], sample: Callable[[optuna.Trial], dict[str, Any]], scope: Scope, *, rate: bool, chooses: bool
) -> tuple[Params, ...]:
    """Return the first trials of a space.

    Args:
        parts: that it is made of.
        sample: of the whole space.
        scope: of the run.
        rate: whether it samples AdamW's learning rate.
        chooses: whether it chooses the encoder.
    """
    first = tuple(_for_kind(params, scope, chooses) for params in _merged(parts, rate))
    if not scope.gpu:
        return first
    public = _public_recipes(sample, scope, chooses)
    return (*public, *(params for params in first if params not in public))


def _merged(parts: list[Part], rate: bool) -> tuple[Params, ...]:
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


def _for_kind(params: Params, scope: Scope, chooses: bool) -> Params:
    """Return a first trial in the terms of its encoder's kind: a transformer's rates, and all its layers at one."""
    encoder = next((value for name, value in params.items() if name.endswith("encoder")), scope.encoder)
    if not scope.draws_transformer({"encoder": encoder}):
        return params
    named: Params = {}
    for name, value in params.items():
        if name == "lr" or name.endswith("_lr"):
            limits = optimizers.ADAMW if name == "lr" else optimizers.RATES[name.removesuffix("_lr")]
            named[optimizers.rate_name(name, True)] = optimizers.in_range(value, *limits, True)
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
        if not fitting if chooses else transformer != scope.draws_transformer({}):
            continue
        if chooses:
            values |= encoders.point(scope.models, recipe.architecture, fitting[0])
        for name in ("lr", f"{values['optimizer']}_lr"):
            values[optimizers.rate_name(name, transformer)] = recipe.values["lr"]
        if scope.image_sizes:
            values["image_size"] = min(scope.image_sizes, key=lambda size: abs(size - recipe.image_size))
        if scope.batch_sizes:
            values["batch_size"] = scope.batch_sizes[0]
        if scope.tile_sizes:
            values["tile_size"] = scope.tile_sizes[0]
        if scope.sides:
            values["flips"] = True
        asked = optuna.trial.FixedTrial(values)
        sample(asked)  # type: ignore[arg-type]  # it has all that a space may ask
        points.append(dict(asked.params))
    return tuple(points)
