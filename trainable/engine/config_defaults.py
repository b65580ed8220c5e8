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
    found = dict(config)
    for key, builders in PARTS.items():
        part = config.get(key)
        if isinstance(part, list):
            found[key] = [_filled(each, builders) for each in part]
        elif isinstance(part, Mapping):
            found[key] = _filled(part, builders)
    return found


def _filled(choice: Mapping[str, Any], builders: Builders) -> Choice:
    builder = builders.get(choice.get("name", ""))
    parameters = inspect.signature(builder).parameters.values() if builder else ()
    plain = {each.name: each.default for each in parameters if isinstance(each.default, str | int | float)}
    return {**plain, **choice}
