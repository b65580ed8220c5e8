"""How sure a val_miou is: intervals from resampling the validation photos.

What an interval is to hold is the val_miou of the same model on very many photos like these, every class among them.
Photos count as taken one by one: where many are of one scene, less is known than an interval says.

N photos, C classes, B resamplings.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000

UNSEEN = 0.5
"""Photos, of the size that counts in their class, that a value's resamplings add to each class: what another photo of a
class comes to is not known from a few, and of a class that no photo shows nothing is known."""

Tallies = NDArray[np.floating]
"""Per photo the hits and the unions of each class, (N, 2C)."""


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
    """Return the interval of mIoU from per-photo confusion matrices (N, C, C), see `value_interval`."""
    return value_interval(tallies(confusion), seed)


def value_interval(found: Tallies, seed: int = 0) -> Interval:
    """Return the interval of some photos' mIoU. Source: Efron 1979, percentiles; `with_unseen` for rare classes."""
    sums = resamples(len(found), seed) @ found
    return middle(sums_to_mious(found.sum(0, keepdims=True)), sums_to_mious(with_unseen(found, sums, seed)))


def difference_interval(first: NDArray[np.integer], second: NDArray[np.integer], seed: int = 0) -> Interval:
    """Return the interval of the first's mIoU less the second's, over the same photos in the same order.

    Source: Efron 1979, percentiles: of a difference they hold, as what a rare class adds is shared or small.

    Args:
        first: confusion matrices (N, C, C).
        second: others of the same photos.
        seed: of the resampling.

    Raises:
        ValueError: the two have other numbers of photos.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two must be of the same photos and classes, found {first.shape} and {second.shape}")
    return paired_interval(tallies(first), tallies(second), seed)


def paired_interval(first: Tallies, second: Tallies, seed: int = 0) -> Interval:
    """Return the interval of the first's mIoU less the second's, by their tallies (N, 2C) of the same photos."""
    counts = resamples(len(first), seed)  # the same for both: what makes it paired
    as_they_are = np.ones_like(counts[:1])
    value, drawn = (sums_to_mious(each @ first) - sums_to_mious(each @ second) for each in (as_they_are, counts))
    return middle(value, drawn)


def mean_ious(confusion: NDArray[np.integer], counts: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Return the mIoU of each draw of photos, (B,), the photos as they are by default.

    Args:
        confusion: (N, C, C), truth by prediction.
        counts: (B, N), how often each photo counts.
    """
    found = tallies(confusion)
    return sums_to_mious(found.sum(0, keepdims=True) if counts is None else counts @ found)


def tallies(confusion: NDArray[np.integer]) -> Tallies:
    """Return what mIoU takes of per-photo confusion matrices (N, C, C)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return np.concatenate([hits, confusion.sum(1) + confusion.sum(2) - hits], axis=1).astype(np.float64)


def sums_to_mious(sums: Tallies) -> NDArray[np.float64]:
    """Return the mIoU of sums of tallies, (B, 2C) to (B,); a class in neither truth nor prediction is left out."""
    hits, unions = np.split(sums, 2, axis=1)
    there = unions > 0
    ious = np.divide(hits, unions, out=np.zeros_like(hits), where=there)
    with np.errstate(invalid="ignore"):
        return np.asarray(ious.sum(1) / there.sum(1))


def with_unseen(found: Tallies, sums: Tallies, seed: int = 0) -> Tallies:
    """Return sums of resampled tallies (B, 2C) with `UNSEEN` photos more of each class.

    Each has the IoU of a class in a photo, drawn among all classes in the photos (N, 2C) by how much it counts in its
    class: where a class is in many photos that is little, where it is in one, much.
    """
    hits, unions = np.split(found, 2, axis=1)
    totals = unions.sum(0)
    share = np.divide(unions, totals, out=np.zeros_like(unions), where=totals > 0).ravel().cumsum()
    size = np.divide((unions**2).sum(0), totals, out=np.ones_like(totals), where=totals > 0)
    drawn = np.random.default_rng([seed, 1]).random((len(sums), len(totals))) * share[-1]
    at = np.minimum(share.searchsorted(drawn, side="right"), share.size - 1)
    ious = hits.ravel()[at] / np.maximum(unions.ravel()[at], 1e-12)
    return sums + UNSEEN * np.concatenate([size * ious, np.broadcast_to(size, ious.shape)], axis=1)


@lru_cache(maxsize=4)
def resamples(photos: int, seed: int = 0, draws: int = RESAMPLES) -> NDArray[np.float64]:
    """Return how often each photo counts in each resampling, (B, N); not to be written to."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(photos, np.full(photos, 1 / photos), size=draws).astype(np.float64)
    counts.flags.writeable = False
    return counts


def middle(value: NDArray[np.float64], resampled: NDArray[np.float64]) -> Interval:
    """Return the interval of a value (1,) from its resamplings (B,)."""
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(float(value[0]), float(low), float(high))
