"""Brings photos and masks from one size to another so that they lie on each other.

A pixel is a square: pixel i of S covers i/S to (i + 1)/S of its photo, at every size. Photos are shrunk by the mean
over each target pixel, masks by the class that covers most of it. So an object has the same place on both, and flips
and quarter turns commute with both.

The score is the exception. The competition scores at 256 x 256 by the pixel floor(i * length / 256) of the photo (as
`cv2.INTER_NEAREST` does), which lies up to half a pixel before the middle of pixel i. Truth is taken exactly so, and
predictions are read off, between their pixels, where truth is (`trainable/metric/score_maps.py`). What that is worth:
`python -m benchmarks.ceilings`.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.classes import IGNORE_INDEX
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape

SCORE_SIZE = 256
"""Pixels per side at which the competition scores."""

STEPS = 256
"""Parts of a pixel to which positions between pixels are rounded. Products of two weights and a byte then fit into the
24 bits that float32 holds exactly, so every device comes to the same class."""


def resize_photo(photo: NDArray[np.uint8], height: int, width: int | None = None) -> NDArray[np.uint8]:
    """Return a photo (H, W, 3) at (height, width, 3), or (S, S, 3): the mean over each pixel, linear where it grows."""
    return np.asarray(resized(photo, height, height if width is None else width), np.uint8)


def resize_mask(mask: NDArray[np.uint8], height: int, width: int | None = None) -> NDArray[np.uint8]:
    """Return a mask (H, W) at (height, width), or (S, S): of each pixel the class that covers most of it.

    Of classes that cover as much of it the highest wins, so background loses.
    """
    width = height if width is None else width
    if mask.shape == (height, width):
        return mask
    result = np.zeros((height, width), np.uint8)
    most = np.full((height, width), -1, np.float32)
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        share = resized((mask == value).astype(np.float32), height, width)
        ahead = share > most - 1e-5  # of rounding: a tie stays a tie when the mask is turned
        result[ahead], most[ahead] = value, share[ahead]
    return result


def padded(pixels: NDArray[np.uint8], frame: Shape, fill: int = 0) -> NDArray[np.uint8]:
    """Return pixels (h, w, ...) at the top left of a frame (H, W, ...)."""
    if pixels.shape[:2] == tuple(frame):
        return pixels
    result = np.full((*frame, *pixels.shape[2:]), fill, np.uint8)
    result[: pixels.shape[0], : pixels.shape[1]] = pixels
    return result


def mirrored_mask(mask: NDArray[np.uint8], mirrored: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a mask with each class's pixels as those of the class that it is in a mirror, see `Classes.mirrored`."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(mirrored)] = mirrored
    return table[mask]


def score_mask(mask: NDArray[np.uint8], geometry: Geometry = COMPETITION_GEOMETRY) -> NDArray[np.uint8]:
    """Return a mask (H, W) where the score looks, shrunk as the competition shrinks it; padding is ignored."""
    height, width = geometry.scored((mask.shape[0], mask.shape[1]))
    looked_at = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return padded(np.asarray(looked_at, np.uint8), geometry.score, IGNORE_INDEX)


def unscored_mask(
    mask: NDArray[np.uint8], height: int, width: int, geometry: Geometry = COMPETITION_GEOMETRY
) -> NDArray[np.uint8]:
    """Return a mask as the score sees it at a photo's own size: each pixel as the nearest that is scored.

    `score_mask` gives the same mask back for photos that are no smaller than the score's frame. A mask of another size
    than that is enlarged in the same way.
    """
    content = geometry.scored((height, width)) if mask.shape == tuple(geometry.score) else mask.shape
    rows, columns = (_nearest_scored(length, side) for length, side in zip((height, width), content, strict=True))
    return mask[rows[:, None], columns]


@lru_cache(maxsize=256)
def score_positions(
    length: int, size: int, scored: int = SCORE_SIZE, frame: int = SCORE_SIZE
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where the score looks at a photo side of `length` pixels, as pixels of `size`.

    Args:
        length: of the photo.
        size: of what was made of the photo.
        scored: pixels of the side that count.
        frame: pixels of the side of the score's frame; those beyond look where the last that counts does.

    Returns:
        Of each of the frame's pixels the pixel before, the pixel after and how far it is from the first, in `STEPS`.
    """
    looked_at = np.minimum(np.arange(frame), scored - 1) * length // scored
    steps = np.rint(((looked_at + 0.5) / length * size - 0.5) * STEPS).astype(np.int64)
    steps = steps.clip(0, (size - 1) * STEPS)
    before = steps // STEPS
    return before, np.minimum(before + 1, size - 1), steps % STEPS


@lru_cache(maxsize=256)
def _nearest_scored(length: int, size: int) -> NDArray[np.int64]:
    """Return of each of `length` pixels the nearest of the `size` that are looked at."""
    pixels = np.arange(length)
    if length < size:  # several look at the same pixel
        return pixels * size // length
    looked_at = np.arange(size) * length // size
    after = np.searchsorted(looked_at, pixels).clip(max=size - 1)
    before = (after - 1).clip(min=0)
    return np.where(np.abs(looked_at[after] - pixels) < np.abs(looked_at[before] - pixels), after, before)


def resized(pixels: NDArray, height: int, width: int) -> NDArray:
    """Return numbers (H, W) or (H, W, channels) at another size: means over areas where they shrink, else linear.

    Where one side shrinks and the other grows, one after the other: OpenCV's mean has another geometry there.
    """
    rows, columns = pixels.shape[:2]
    if (height < rows and width > columns) or (height > rows and width < columns):
        return resized(resized(pixels, rows, width), height, width)
    how = cv2.INTER_AREA if height < rows or width < columns else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how))
