"""Which trials cannot be told apart: groups by paired bootstrap over the validation photos.

T models, N photos, C classes, B resamplings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.metric.bootstrap import Interval, miou_interval, resamples, sums_to_mious, tallies
from trainable.metric.noise import gap
from trainable.metric.paired_comparison import ALPHA


@dataclass(frozen=True)
class Place:
    """A model's place among others on the same photos."""

    interval: Interval
    less_best: Interval  # the difference to the best of all; those of all pairs hold together, in 95% of cases
    group: str


def places(confusions: Sequence[NDArray[np.integer]], seed: int = 0) -> list[Place]:
    """Return the place of each model among the others.

    Group A holds all models that are not shown to be worse than the best; B the same among the rest, and so on. Within
    a group the order says little. Of models that are equally good all are in one group in 95% of cases, however many
    they are: each difference is tested at a level for all pairs together (Bonferroni).

    Args:
        confusions: (N, C, C) each, of the same photos in the same order.
        seed: of the resampling, the same for all models: that is what pairs them.
    """
    if not confusions:
        return []
    by_model = [tallies(matrices) for matrices in confusions]
    counts = resamples(len(by_model[0]), seed)
    values = np.array([sums_to_mious(by_photo.sum(0, keepdims=True))[0] for by_photo in by_model])
    resampled = np.stack([sums_to_mious(counts @ by_photo) for by_photo in by_model])
    letters = group_letters(values, resampled, len(by_model[0]))
    best = int(np.argmax(values))
    return [
        Place(
            miou_interval(matrices, seed), less(values, resampled, len(by_model[0]), position, best), letters[position]
        )
        for position, matrices in enumerate(confusions)
    ]


def less(
    values: NDArray[np.floating], resampled: NDArray[np.floating], photos: int, position: int, other: int
) -> Interval:
    """Return the interval of a model's difference to another, at the level of all pairs.

    Args:
        values: (T,) val_miou.
        resampled: (T, B) val_miou on the same B draws of photos.
        photos: N.
        position: of the model.
        other: of the other.
    """
    difference = gap(float(values[position] - values[other]), resampled[position] - resampled[other], photos)
    return difference.interval(ALPHA / max(len(values) * (len(values) - 1) / 2, 1))


def group_letters(values: NDArray[np.floating], resampled: NDArray[np.floating], photos: int) -> list[str]:
    """Return the group of each model.

    Args:
        values: (T,) val_miou.
        resampled: (T, B) val_miou on the same B draws of photos.
        photos: N.
    """
    letters = [""] * len(values)
    rest = list(np.argsort(-values, kind="stable"))
    group = 0
    while rest:
        alike = [position for position in rest if less(values, resampled, photos, position, rest[0]).high >= 0]
        for position in alike:
            letters[position] = letter(group)
        rest = [position for position in rest if position not in alike]
        group += 1
    return letters


def letter(index: int) -> str:
    """Return A to Z, then AA, AB and so on."""
    return (letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
