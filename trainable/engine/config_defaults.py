"""Spells a config out: with what its named parts have by default where it leaves that out."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from trainable.config import Choice
from trainable.model.losses import LOSSES
from trainable.model.optim import OPTIMIZERS
from trainable.model.schedules import SCHEDULES
from trainable.pipeline.augmentation import AUGMENTATIONS, OPERATIONS
from trainable.pipeline.mixing import MIXING
from trainable.pipeline.oversampling import OVERSAMPLING

Builders = Mapping[str, Callable[..., Any]]

PARTS: dict[str, Builders] = {
    "loss": LOSSES, "optimizer": OPTIMIZERS, "scheduler": SCHEDULES, "oversampling": OVERSAMPLING,
    "augmentation": AUGMENTATIONS, "operations": OPERATIONS, "mixing": MIXING,
}  # fmt: skip
"""By key of the config: the builders of its parts."""


def spelled_out(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, as `TrialConfig.to_dict` gives it, with the defaults of its parts; unknown ones stay as is."""
    result = dict(config)
    for key, builders in PARTS.items():
        part = config.get(key)
        if isinstance(part, list):
            result[key] = [_filled(choice, builders) for choice in part]
        elif isinstance(part, Mapping):
            result[key] = _filled(part, builders)
    return result


def _filled(choice: Mapping[str, Any], builders: Builders) -> Choice:
    builder = builders.get(choice.get("name", ""))
    parameters = inspect.signature(builder).parameters.values() if builder else ()
    plain = {
        parameter.name: parameter.default
        for parameter in parameters
        if isinstance(parameter.default, str | int | float)
    }
    return {**plain, **choice}
