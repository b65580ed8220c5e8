"""How sure a val_miou is: intervals from resampling the validation photos.

What an interval is to hold is the val_miou of the same model on very many photos like these, over the same classes: of
a class that is in none of the photos, neither in truth nor prediction, nothing is known, and it is left out. Photos
count as taken one by one: where many are of one scene, less is known than an interval says.

N photos, C classes, B resamplings.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

RESAMPLES = 4000

UNSEEN = 0.25
"""Photos that resamplings of a value add to each class: what another photo of it comes to is not known from a few."""

NORMAL_95 = 1.96
"""Standard deviations to either side that hold 95%."""

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
    """Return the interval of some photos' mIoU. Source: Efron 1979, percentiles of `value_draws`."""
    sums = resamples(len(found), seed) @ found
    return middle(sums_to_mious(found.sum(0, keepdims=True)), value_draws(found, sums, seed))


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
    value, drawn = (
        sums_to_mious(weights @ first) - sums_to_mious(weights @ second) for weights in (as_they_are, counts)
    )
    return middle(value, drawn)


def mean_ious(confusion: NDArray[np.integer], counts: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Return the mIoU of each draw of photos, (B,), the photos as they are by default.

    Args:
        confusion: (N, C, C), truth by prediction.
        counts: (B, N), how often each photo counts.
    """
    photo_tallies = tallies(confusion)
    return sums_to_mious(photo_tallies.sum(0, keepdims=True) if counts is None else counts @ photo_tallies)


def tallies(confusion: NDArray[np.integer]) -> Tallies:
    """Return what mIoU takes of per-photo confusion matrices (N, C, C)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return np.concatenate([hits, confusion.sum(1) + confusion.sum(2) - hits], axis=1).astype(np.float64)


def sums_to_mious(sums: Tallies) -> NDArray[np.float64]:
    """Return the mIoU of sums of tallies, (B, 2C) to (B,); a class in neither truth nor prediction is left out."""
    hits, unions = np.split(sums, 2, axis=1)
    present = unions > 0
    ious = np.divide(hits, unions, out=np.zeros_like(hits), where=present)
    with np.errstate(invalid="ignore"):
        return np.asarray(ious.sum(1) / present.sum(1))


def value_draws(found: Tallies, sums: Tallies, seed: int = 0) -> NDArray[np.float64]:
    """Return resamplings of a mIoU, (B,), as wide as the true one of very many photos may be off.

    Few photos vary less among their resamplings than among photos at large, in two ways that are made up for:

    - Each class gets `UNSEEN` photos more, of its size and of an IoU that a class has in a photo, both drawn. Where a
      class is in many photos that is little, where it is in one, much. What all photos show, such as the background,
      tells nothing of other classes.
    - Large objects count most, so photos are fewer than they seem: Student's t for as many as the best known class has.
      Sources: Kish 1965 for how many, Hesterberg 2015 for the percentiles.

    Args:
        found: tallies of the photos, (N, 2C).
        sums: over resamplings of them, (B, 2C).
        seed: of the draws.
    """
    hits, unions = np.split(found, 2, axis=1)
    totals, squares = unions.sum(0), (unions**2).sum(0)
    share = np.divide(unions, totals, out=np.zeros_like(unions), where=totals > 0)
    rest = (unions > 0).any(0) & ~(unions > 0).all(0)
    share = share[:, rest] if rest.any() else share
    count = max(2.0, float((1 / np.maximum((share**2).sum(0), 1 / len(found)))[share.any(0)].max()))
    wider = float(stdtrit(count - 1, 0.975)) / NORMAL_95 * (count / (count - 1)) ** 0.5
    rng = np.random.default_rng([seed, 1])
    chances = share.ravel().cumsum()
    at = np.minimum(chances.searchsorted(rng.random((len(sums), len(totals))) * chances[-1], "right"), share.size - 1)
    photo, column = np.divmod(at, share.shape[1])
    column = np.flatnonzero(rest)[column] if rest.any() else column
    ious = hits[photo, column] / np.maximum(unions[photo, column], 1e-12)
    sizes = np.divide(squares, totals, out=np.zeros_like(totals), where=totals > 0)
    extra = UNSEEN * sizes * rng.exponential(size=ious.shape)
    drawn = sums_to_mious(sums + np.concatenate([extra * ious, extra], axis=1))
    return np.asarray(drawn.mean() + wider * (drawn - drawn.mean()))


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
