"""How sure the labels of further training photos are, at the size of their masks.

Labels and confidences are made where the score looks and go two ways: labels become masks at the photo's own size,
which are shrunk to the training size, confidences stay pictures. Here the second follows the first, so that a pixel's
confidence is that of its label and not of what lies beside it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.images.photo_files import open_photo
from trainable.images.resampling import resized, unscored_mask

CERTAIN = 255

LEAST = 1e-4
"""Share of a pixel that counts: less is rounding."""


def read_confidence(path: Path) -> NDArray[np.uint8]:
    """Return a grey picture of confidences as it is."""
    with open_photo(path) as file:
        return np.asarray(file.convert("L"))


def shrink_confidence(
    confidence: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    small_mask: NDArray[np.uint8],
    geometry: Geometry = COMPETITION_GEOMETRY,
) -> NDArray[np.uint8]:
    """Return how sure each pixel's label is once a mask was brought to another size by `resize_mask`, (h, w).

    It is the mean over those pixels of the mask under it that have its label, by the area that they cover.

    Args:
        confidence: of the labels at any size, 255 is certain.
        mask: (H, W) labels at the photo's own size.
        small_mask: (h, w) the same at the training size.
        geometry: of the photos.
    """
    sure = unscored_mask(confidence, mask.shape[0], mask.shape[1], geometry).astype(np.float32)
    shrunk = np.zeros(small_mask.shape, np.float32)
    for value in np.unique(small_mask):
        has_it = (mask == value).astype(np.float32)
        total, area = (resized(weights, *small_mask.shape) for weights in (has_it * sure, has_it))
        shrunk = np.where(small_mask == value, total / np.maximum(area, LEAST), shrunk)
    return np.rint(shrunk).clip(0, CERTAIN).astype(np.uint8)
