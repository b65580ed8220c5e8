"""How large the objects on photos are: their annotations, or the connected pieces of a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.classes import Classes
from trainable.labelled_photos import Photo

SPECK = 0.01
"""Pieces of a mask smaller than this share of the largest piece of their class on the photo are specks of its edge,
such as sky between leaves, and no objects."""


@dataclass(frozen=True)
class Objects:
    """Objects of a data set, M of them, in the order of the photos."""

    photo: NDArray[np.int64]  # (M,) position of the photo
    class_index: NDArray[np.int64]  # (M,)
    area: NDArray[np.float64]  # (M,) pixels at the photo's own size
    looked_at: int  # photos whose objects these are

    @classmethod
    def of(cls, found: Sequence[tuple[int, Sequence[tuple[int, float]]]]) -> "Objects":
        """Join the objects of photos, given as (position, [(class index, area), ...])."""
        rows = [(position, *each) for position, areas in found for each in areas]
        table = np.array(rows, np.float64).reshape(-1, 3)
        return cls(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], len(found))


def annotated(photo: Photo, classes: Classes) -> list[tuple[int, float]]:
    """Return the class index and the pixels of each annotation of an object."""
    kept = [each for each in photo.annotations if not each.ignore and each.class_index in classes.objects]
    return [(each.class_index, float(each.area)) for each in kept if each.area]


def pieces(mask: NDArray[np.uint8], classes: Classes) -> list[tuple[int, float]]:
    """Return the class index and the pixels of each connected piece of a mask (H, W), specks left out."""
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    found = []
    for index in present[np.isin(present, list(classes.objects))].tolist():
        own = (mask == index).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(own)
        cut = np.ascontiguousarray(own[y : y + height, x : x + width])
        areas = cv2.connectedComponentsWithStats(cut, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        found += [(index, float(area)) for area in areas if area >= SPECK * areas.max()]
    return found
