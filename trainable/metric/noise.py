"""How sure the difference of two configs is: the variance over photos, and that between trainings with other seeds.

N photos, C classes, B resamplings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from trainable.metric.bootstrap import Interval, Tallies, resamples, sums_to_mious

SEED_SD = 0.015
"""Between trainings of one config with other seeds, measured on 339 photos."""

SEED_WEIGHT = 8.0
"""What that weighs, in degrees of freedom, against what a run's own trainings show."""

DRAWS = 1000
"""Of photos: their standard deviation is then known to 2%."""

Cell = tuple[int, int]
"""What a config is trained on: the fold that validates, and which seed, 0 being the config's own."""


class Draws:
    """Sums of a training's tallies: over its photos as they are, then over each resampling of them, (1 + B, 2C)."""

    def __init__(self, found: Tallies, fold: int):
        """Draw.

        Args:
            found: tallies, (N, 2C).
            fold: whose photos they are, in the same order for all configs: each fold has draws of its own.
        """
        self.sums = _counts(len(found), fold) @ found
        self.mious = sums_to_mious(self.sums)


Drawn = Mapping[int, Mapping[Cell, Draws]]
"""By config and cell."""


@cache
def _counts(photos: int, fold: int) -> NDArray[np.float64]:
    return np.concatenate([np.ones((1, photos)), resamples(photos, fold, DRAWS)])


def pooled_sums(drawn: Mapping[Cell, Draws], cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Return the sums over the photos of all folds, of each the mean over its seeds, (1 + B, 2C)."""
    folds = [[drawn[cell].sums for cell in cells if cell[0] == fold] for fold in sorted({fold for fold, _ in cells})]
    return np.asarray(sum(sum(seeds) / len(seeds) for seeds in folds))


@dataclass(frozen=True)
class Noise:
    """What val_miou varies by between trainings of one config that differ by their seed."""

    variance: float  # of one training
    freedom: float  # degrees of freedom that it is known with

    def variance_over(self, cells: Sequence[Cell]) -> float:
        """Return the variance of the mean over folds, of each fold the mean over its seeds."""
        folds = [fold for fold, _ in cells]
        return self.variance * sum(1 / folds.count(fold) for fold in set(folds)) / len(set(folds)) ** 2


@dataclass(frozen=True)
class Gap:
    """A difference of two configs, and how sure it is."""

    value: float  # on the photos as they are
    centre: float  # over resampled photos
    deviation: float
    freedom: float

    def interval(self, level: float) -> Interval:
        """Return the interval that the true difference is outside of, to either side, at a level such as 0.05."""
        half = -float(stdtrit(self.freedom, level / 2)) * self.deviation
        return Interval(self.value, min(self.centre - half, self.value), max(self.centre + half, self.value))


def gap(
    value: float, drawn: NDArray[np.floating], photos: int, noise: Noise | None = None, cells: Sequence[Cell] = ()
) -> Gap:
    """Return the difference of two models, or of two configs.

    Args:
        value: on the photos as they are.
        drawn: on each resampling of them, (B,).
        photos: how many.
        noise: of each of two configs; none of two models.
        cells: that both configs were trained on.
    """
    of_photos = float(drawn.var()) * photos / max(photos - 1, 1)
    of_seeds = 2 * noise.variance_over(cells) if noise else 0.0
    variance = max(of_photos + of_seeds, 1e-24)
    unsure = of_photos**2 / max(photos - 1, 1) + (of_seeds**2 / noise.freedom if noise else 0.0)
    return Gap(value, float(drawn.mean()), variance**0.5, variance**2 / max(unsure, 1e-60))


def seed_noise(configs: Sequence[Mapping[Cell, Draws]], cells: Sequence[Cell]) -> Noise:
    """Return what val_miou varies by between trainings of one config that differ by their seed.

    Args:
        configs: that were trained on all of the cells.
        cells: folds and seeds.
    """
    squares, freedom = SEED_WEIGHT * SEED_SD**2, SEED_WEIGHT
    folds = sorted({fold for fold, _ in cells})
    for fold in folds:
        repeats = [cell for cell in cells if cell[0] == fold]
        if len(repeats) > 1:
            values = np.array([[config[cell].mious[1:].mean() for cell in repeats] for config in configs])
            squares += float(((values - values.mean(1, keepdims=True)) ** 2).sum())
            freedom += len(configs) * (len(repeats) - 1)
    if len(configs) > 1 and len(folds) > 1:
        first = [next(cell for cell in cells if cell[0] == fold) for fold in folds]
        mious = np.array([[config[cell].mious[1:] for config in configs] for cell in first])  # (folds, configs, B)
        values = mious.mean(2)
        residuals = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        photos = float((mious - mious.mean(1, keepdims=True)).var(2).sum(1).mean()) / (len(configs) - 1)
        residual_freedom = (len(configs) - 1) * (len(folds) - 1)
        # What the photos have a share in tells less of the seeds.
        added_freedom = residual_freedom * (SEED_SD**2 / (SEED_SD**2 + photos)) ** 2
        squares += added_freedom * max(float((residuals**2).sum()) / residual_freedom - photos, 0.0)
        freedom += added_freedom
    return Noise(squares / freedom, freedom)
