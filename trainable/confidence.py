"""How sure the labels of further training photos are, at the size of their masks.

Labels and confidences are made at one size (256 x 256) and go two ways: labels become masks at the photo's own size,
which are shrunk to the training size, confidences stay pictures. Here the second follows the first, so that a pixel's
confidence is that of its label and not of what lies beside it.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.photos import open_photo

CERTAIN = 255

LEAST = 1e-4
"""Share of a pixel that counts: less is rounding."""


def photo_sized(values: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return labels, or how sure they are, at a photo's own size (height, width): the same pixels of either."""
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def read_confidence(path: Path) -> NDArray[np.uint8]:
    """Return a grey picture of confidences as it is."""
    with open_photo(path) as file:
        return np.asarray(file.convert("L"))


def shrink_confidence(
    confidence: NDArray[np.uint8], mask: NDArray[np.uint8], small_mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return how sure each pixel's label is once a mask was brought to another size, (S, S).

    It is the mean over those pixels of the mask under it that have its label, by the area that they cover. Where none
    of them has, as an edge may move by a pixel when a mask is drawn anew, pixels around it are looked at, then all.

    Args:
        confidence: (h, w) of the labels at any size, 255 is certain.
        mask: (H, W) labels at the photo's own size.
        small_mask: (S, S) the same at the training size.
    """
    side = small_mask.shape[::-1]
    sure = photo_sized(confidence, *mask.shape).astype(np.float32)
    shrinks = side[0] <= mask.shape[1] and side[1] <= mask.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    found = np.zeros(small_mask.shape, np.float32)
    for value in np.unique(small_mask):
        has_it = (mask == value).astype(np.float32)
        under = [np.asarray(cv2.resize(each, side, interpolation=how)) for each in (has_it * sure, has_it)]
        around = [cv2.blur(each, (3, 3)) for each in under]
        mean = np.where(around[1] > LEAST, around[0] / np.maximum(around[1], LEAST), _mean(sure[mask == value]))
        mean = np.where(under[1] > LEAST, under[0] / np.maximum(under[1], LEAST), mean)
        found = np.where(small_mask == value, mean, found)
    return np.rint(found).astype(np.uint8)


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean()) if values.size else 0.0
