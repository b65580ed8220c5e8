"""Reads hyperparameters back from live objects: optimizers, and the functions that losses and schedules are."""

import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainable.config import Choice
from trainable.model.lookahead import Lookahead
from trainable.model.optim import FIXED, OPTIMIZERS

Finding = tuple[str, Any, Any]
"""What was compared, what the config asks for and what was found."""

ALIASES = {"alpha": "lookahead_alpha", "every": "lookahead_k", "decoupled": "decoupled_weight_decay"}
"""Names of an optimizer's parameters in its groups, where they are others than in the config."""

OURS = ("params", "part", "layer_factor", "decayed")
"""What `parameter_groups` puts into a group."""
COUNTS = ("step", "lookahead_step")
"""What a group has that changes from step to step, beside the rate."""
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")
"""What decides how a step is computed, not what it comes to."""

MISSING = "missing"


def optimizer_findings(
    choice: Choice, live: Optimizer, encoder_lr_factor: float = 1.0, factor: float = 1.0
) -> Iterator[Finding]:
    """Compare every hyperparameter of an optimizer, in its groups and in the defaults that some read in a step.

    Args:
        choice: as the config has it.
        live: the optimizer.
        encoder_lr_factor: the encoder's rate as a share of the rest's.
        factor: of the schedule, at this moment.
    """
    asked = asked_of_optimizer(choice)
    lr, weight_decay = asked.pop("lr"), asked.pop("weight_decay")
    for group in live.param_groups:
        encoder = group["part"] == "encoder"
        name = "encoder " if encoder else ""
        if not group["decayed"]:
            name += "norm and bias "
        yield f"{name}lr", lr * (encoder_lr_factor * group["layer_factor"] if encoder else 1) * factor, group["lr"]
        yield f"{name}weight decay", weight_decay if group["decayed"] else 0.0, group["weight_decay"]
        yield from _findings(asked, group, name)
    yield from _findings({**asked, "lr": lr, "weight_decay": weight_decay}, live.defaults, "default ")


def asked_of_optimizer(choice: Choice) -> dict[str, Any]:
    """Return the hyperparameters that a config asks for, by their names in the optimizer's groups or in the config."""
    name = choice["name"]
    signature = inspect.signature(OPTIMIZERS[name]).parameters
    asked = {key: parameter.default for key, parameter in signature.items() if key != "groups"}
    asked |= {key: value for key, value in choice.items() if key != "name"}
    inner = name.removeprefix("lookahead_")
    asked |= FIXED[inner]
    if inner == "sgd":
        asked["nesterov"] = asked["momentum"] > 0
    if inner == "adamw":
        asked["decoupled_weight_decay"] = True  # which makes it AdamW
    if inner == "radam":
        asked.setdefault("decoupled", True)
    if inner in ("lion", "lamb"):
        asked["max_lr_snapshot"] = asked["lr"]
    return asked


def unlisted(choice: Choice, live: Optimizer) -> set[str]:
    """Return what an optimizer has in its groups or defaults that nothing is known of, as after a library's upgrade."""
    expected = {ALIASES.get(key, key) for key in asked_of_optimizer(choice)} | {*OURS, *COUNTS, *IMPLEMENTATION}
    return {key for values in (live.defaults, *live.param_groups) for key in values} - expected


def kind(optimizer: Optimizer) -> str:
    """Return an optimizer's name, with that of the one it wraps."""
    inner = f" of {kind(optimizer.inner)}" if isinstance(optimizer, Lookahead) else ""
    return f"{type(optimizer).__name__}{inner}"


def settings(live: Any, path: str = "") -> dict[str, Any]:
    """Return every value that a function, module or object works with, by its path through those it is made of.

    Of a function these are the variables it has taken in from the one that made it, of others their attributes.
    """
    if isinstance(live, FunctionType):
        cells = zip(live.__code__.co_freevars, live.__closure__ or (), strict=True)
        values = {name: cell.cell_contents for name, cell in cells}
    elif isinstance(live, nn.Module):
        own = {name: value for name, value in vars(live).items() if not name.startswith("_") and name != "training"}
        values = {**own, **dict(live.named_buffers()), **dict(live.named_children())}
        path = f"{path}{type(live).__name__}." if path else f"{type(live).__name__}."
    else:
        values = vars(live)
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= _setting(f"{path}{name}", value)
    return result


def _setting(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        return {path: value.tolist()}
    if value is None or isinstance(value, str | bool | int | float | tuple | list):
        return {path: list(value) if isinstance(value, tuple) else value}
    return settings(value, f"{path}.")


def settings_findings(kind: str, choice: Mapping[str, Any], asked: Any, live: Any) -> Iterator[Finding]:
    """Compare all that two functions or modules work with, and what a config says of it in its own words.

    Args:
        kind: what they are, for the names ("loss").
        choice: the config's, spelled out.
        asked: made from it.
        live: the one in use.
    """
    asked_settings, live_settings = settings(asked), settings(live)
    for path in sorted(asked_settings.keys() | live_settings.keys()):
        said = choice.get(path.rpartition(".")[2], asked_settings.get(path, MISSING))
        yield f"{kind} {path}", said, live_settings.get(path, MISSING)


def _findings(asked: Mapping[str, Any], live: Mapping[str, Any], name: str) -> Iterator[Finding]:
    for key in sorted(asked):
        yield f"{name}{key}", asked[key], live.get(ALIASES.get(key, key), MISSING)
