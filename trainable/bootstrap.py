"""How sure a val_miou is: intervals from resampling the validation photos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """The middle 95% of a figure over resampled photos, around its value on the photos as they are."""

    value: float
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Value, low and high, to six places."""
        return round(self.value, 6), round(self.low, 6), round(self.high, 6)

    def __str__(self) -> str:
        return f"{self:}"

    def __format__(self, sign: str) -> str:
        """Return it to three places, with `+` as a difference with its sign."""
        return f"{self.value:{sign}.3f} ({self.low:{sign}.3f} to {self.high:{sign}.3f})"


def miou_interval(confusion: NDArray[np.integer], seed: int = 0) -> Interval:
    """Return the interval of mIoU from per-photo confusion matrices (N, C, C). Source: Efron 1979, percentiles."""
    return middle(mean_ious(confusion), mean_ious(confusion, resamples(len(confusion), seed)))


def difference_interval(first: NDArray[np.integer], second: NDArray[np.integer], seed: int = 0) -> Interval:
    """Return the interval of the first's mIoU less the second's, over the same photos in the same order.

    Raises:
        ValueError: the two have other numbers of photos.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two must be of the same photos and classes, found {first.shape} and {second.shape}")
    counts = resamples(len(first), seed)  # the same for both: what makes it paired
    value = mean_ious(first) - mean_ious(second)
    return middle(value, mean_ious(first, counts) - mean_ious(second, counts))


def mean_ious(confusion: NDArray[np.integer], counts: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
    """Return the mIoU of each draw of photos, (B,), the photos as they are by default.

    Args:
        confusion: (N, C, C), truth by prediction.
        counts: (B, N), how often each photo counts.
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    unions = confusion.sum(1) + confusion.sum(2) - hits
    weights = np.ones((1, len(hits))) if counts is None else counts.astype(np.float64)
    totals = weights @ np.concatenate([hits, unions], axis=1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        # A class in neither truth nor prediction is 0 / 0.
        return np.nanmean(totals[:, : hits.shape[1]] / totals[:, hits.shape[1] :], axis=1)


def resamples(photos: int, seed: int = 0) -> NDArray[np.int64]:
    """Return how often each photo counts in each resampling, (B, N)."""
    return np.random.default_rng(seed).multinomial(photos, np.full(photos, 1 / photos), size=RESAMPLES)


def middle(value: NDArray[np.float64], resampled: NDArray[np.float64]) -> Interval:
    """Return the interval of a value (1,) from its resamplings (B,)."""
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(float(value[0]), float(low), float(high))
