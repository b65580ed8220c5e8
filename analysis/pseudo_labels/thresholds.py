"""How sure an ensemble must be of a pixel for its class to become a label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.classes import IGNORE_INDEX

Histogram = NDArray[np.int64]
"""(C, 256): pixels predicted as each class, by how sure of it the ensemble is, in 255ths."""


@dataclass(frozen=True)
class Rule:
    """How thresholds are found."""

    keep: float = 0.5  # share of the pixels predicted as a class that stay, the surest
    min_confidence: float = 0.4  # lowest threshold
    threshold: float | None = None  # the same for all classes, in place of the shares

    def __post_init__(self) -> None:
        for name, value in (
            ("keep", self.keep),
            ("min_confidence", self.min_confidence),
            ("threshold", self.threshold),
        ):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"--{name.replace('_', '-')} must be above 0 and at most 1, found {value:g}")

    def thresholds(self, histogram: Histogram) -> NDArray[np.int64]:
        """Return the lowest confidence of a label of each class, (C,) in 255ths.

        With `keep` each class has its own, so that a class of which the ensemble is never as sure as of background
        keeps its share. Source: Zou et al. 2018, class-balanced self-training, with a lower bound.
        """
        if self.threshold is not None:
            return np.full(len(histogram), _up(self.threshold))
        above = histogram[:, ::-1].cumsum(1)[:, ::-1]  # pixels at least as sure
        enough = above >= self.keep * above[:, :1]
        highest = histogram.shape[1] - 1 - enough[:, ::-1].argmax(1)
        return np.maximum(highest, _up(self.min_confidence))


def histogram_of(classes: NDArray[np.uint8], confidence: NDArray[np.uint8], count: int) -> Histogram:
    """Count the pixels of a photo by class, of `count`, and confidence."""
    joint = classes.astype(np.int64) * 256 + confidence
    return np.bincount(joint.ravel(), minlength=count * 256).reshape(count, 256)


def kept_pixels(histogram: Histogram, thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many pixels of each class are as sure as its threshold asks, (C,)."""
    return np.where(np.arange(histogram.shape[1]) >= thresholds[:, None], histogram, 0).sum(1)


def labels_of(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], thresholds: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return a photo's labels: the class where it is sure enough, else IGNORE_INDEX."""
    return np.where(confidence >= thresholds[classes], classes, np.uint8(IGNORE_INDEX))


def _up(share: float) -> int:
    """Return a share in 255ths, rounded up: what counts as at least the share is at least it."""
    return int(np.ceil(round(share * 255, 6)))
