"""Which trials cannot be told apart: groups by paired bootstrap over the validation photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.bootstrap import Interval, mean_ious, middle, resamples


@dataclass(frozen=True)
class Place:
    """A model's place among others on the same photos."""

    interval: Interval
    less_best: Interval  # the difference to the best of all
    group: str


def places(confusions: Sequence[NDArray[np.integer]], seed: int = 0) -> list[Place]:
    """Return the place of each model among the others.

    Group A holds all models whose paired difference to the best has a 95% interval that reaches 0 or above; B the same
    among the rest, and so on. Within a group the order says little.

    Args:
        confusions: (N, C, C) each, of the same photos in the same order.
        seed: of the resampling, the same for all models: that is what pairs them.
    """
    if not confusions:
        return []
    values = np.array([mean_ious(each) for each in confusions])  # (T, 1)
    counts = resamples(len(confusions[0]), seed)
    resampled = np.stack([mean_ious(each, counts) for each in confusions])
    letters = group_letters(values[:, 0], resampled)
    best = int(np.argmax(values))
    return [
        Place(
            middle(value, row), middle(value - values[best], row - resampled[best]), letter
        ) for value, row, letter in zip(values, resampled, letters, strict=True)
    ]  # fmt: skip


def group_letters(values: NDArray[np.floating], resampled: NDArray[np.floating]) -> list[str]:
    """Return the group of each model.

    Args:
        values: (T,) val_miou.
        resampled: (T, B) val_miou on the same B draws of photos.
    """
    letters = [""] * len(values)
    rest = list(np.argsort(-values, kind="stable"))
    group = 0
    while rest:
        differences = resampled[rest] - resampled[rest[0]]
        alike = np.percentile(differences, 97.5, axis=1) >= 0
        for position in np.array(rest)[alike]:
            letters[position] = letter(group)
        rest = [position for position, same in zip(rest, alike, strict=True) if not same]
        group += 1
    return letters


def letter(index: int) -> str:
    """Return A to Z, then AA, AB and so on."""
    return (letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
