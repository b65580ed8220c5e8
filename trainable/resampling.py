"""Brings photos, masks and probabilities from one size to another so that all of them lie on each other.

A pixel is a square: pixel i of S covers i/S to (i + 1)/S of its photo, at every size. Photos are shrunk by the mean
over each target pixel, masks by the class that covers most of it. So an object has the same place on both, and flips
and quarter turns commute with both.

The score is the exception. The competition scores at 256 x 256 by the pixel floor(i * length / 256) of the photo (as
`cv2.INTER_NEAREST` does), which lies up to half a pixel before the middle of pixel i. Truth is taken exactly so, and
predictions are read off, between their pixels, where truth is: `benchmarks/ceilings.py` shows what that is worth.

N photos, C classes, S pixels per side.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCORE_SIZE = 256
"""Pixels per side at which the competition scores."""

COMPETITION_SIZE = (512, 512)
"""Height and width of the competition's photos, in pixels."""

STEPS = 256
"""Parts of a pixel to which positions between pixels are rounded. Products of two weights and a byte then fit into the
24 bits that float32 holds exactly, so every device comes to the same class."""

Sizes = Sequence[tuple[int, int]] | NDArray[np.int64]
"""Height and width of each photo, (N, 2), in pixels."""


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
    found = np.zeros((height, width), np.uint8)
    most = np.full((height, width), -1, np.float32)
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        share = resized((mask == value).astype(np.float32), height, width)
        ahead = share > most - 1e-5  # of rounding: a tie stays a tie when the mask is turned
        found[ahead], most[ahead] = value, share[ahead]
    return found


def score_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask (H, W) at (256, 256) as the competition shrinks it."""
    return np.asarray(cv2.resize(mask, (SCORE_SIZE, SCORE_SIZE), interpolation=cv2.INTER_NEAREST), np.uint8)


def unscored_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a mask as the score sees it, (256, 256), at a photo's own size: each pixel as the nearest that is scored.

    `score_mask` gives the same mask back for photos of 256 pixels or more per side. A mask of another size is enlarged
    in the same way.
    """
    rows, columns = (_nearest_scored(length, side) for length, side in zip((height, width), mask.shape, strict=True))
    return mask[rows[:, None], columns]


def at_score_size(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return maps (N, C, S, S) where the score looks, (N, C, 256, 256) float32, linear between the pixels.

    Args:
        maps: probabilities, or whole numbers of at most 8 bits, for which the result is exact.
        sizes: of the photos; those of the competition if not given.
    """
    found = torch.empty(*maps.shape[:2], SCORE_SIZE, SCORE_SIZE, device=maps.device)
    for size, rows in _by_size(len(maps), sizes):
        down, across = (_weights(length, side, maps.device) for length, side in zip(size, maps.shape[2:], strict=True))
        found[rows] = down @ maps[rows].float() @ across.T
    return found / STEPS**2


def classes_at_score_size(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return the likeliest class of maps (N, C, S, S) of bytes where the score looks, (N, 256, 256) uint8.

    The same as `at_score_size(maps, sizes).max(1).indices`, in a fraction of the time: where the four pixels around
    have one class, what lies between them has it too.
    """
    classes = maps.max(1).indices.to(torch.uint8)
    found = torch.empty(len(maps), SCORE_SIZE, SCORE_SIZE, dtype=torch.uint8, device=maps.device)
    for (height, width), rows in _by_size(len(maps), sizes):
        top, bottom, _ = score_positions(height, maps.shape[2])
        left, right, _ = score_positions(width, maps.shape[3])
        here = classes[rows]
        around = [here[:, torch.from_numpy(row)[:, None], torch.from_numpy(column)]
                  for row in (top, bottom) for column in (left, right)]  # fmt: skip
        differ = (around[0] != around[1]) | (around[0] != around[2]) | (around[0] != around[3])
        photo, row, column = differ.nonzero(as_tuple=True)
        at = at_score_pixels(maps[rows], photo, row, column, (height, width))
        around[0][photo, row, column] = at.max(1).indices.to(torch.uint8)
        found[rows] = around[0]
    return found


def at_score_pixels(maps: Tensor, photo: Tensor, row: Tensor, column: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `at_score_size` at P pixels alone, (P, C) float32.

    Args:
        maps: (N, C, S, S) of photos of one size.
        photo: (P,) index of the photo.
        row: (P,) of the 256.
        column: (P,) of the 256.
        size: height and width of the photos.
    """
    last = maps.permute(0, 2, 3, 1)
    (top, bottom, down), (left, right, across) = (
        [torch.from_numpy(each).to(maps.device)[index] for each in score_positions(length, side)]
        for length, side, index in ((size[0], maps.shape[2], row), (size[1], maps.shape[3], column))
    )
    down, across = down[:, None].float(), across[:, None].float()
    upper = last[photo, top, left] * (STEPS - across) + last[photo, top, right] * across
    lower = last[photo, bottom, left] * (STEPS - across) + last[photo, bottom, right] * across
    return (upper * (STEPS - down) + lower * down) / STEPS**2


@lru_cache(maxsize=256)
def score_positions(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where the score looks at a photo side of `length` pixels, as pixels of `size`.

    Returns:
        Of each of the 256 the pixel before, the pixel after and how far it is from the first, in `STEPS`.
    """
    looked_at = np.arange(SCORE_SIZE) * length // SCORE_SIZE
    steps = np.rint(((looked_at + 0.5) / length * size - 0.5) * STEPS).astype(np.int64)
    steps = steps.clip(0, (size - 1) * STEPS)
    before = steps // STEPS
    return before, np.minimum(before + 1, size - 1), steps % STEPS


def _by_size(photos: int, sizes: Sizes | None) -> Iterator[tuple[tuple[int, int], Tensor | slice]]:
    """Yield each size that there is and which photos have it."""
    listed = [(int(height), int(width)) for height, width in sizes] if sizes is not None else [COMPETITION_SIZE]
    if len(set(listed)) == 1:
        yield listed[0], slice(photos)
        return
    for each in sorted(set(listed)):
        yield each, torch.tensor([row for row, size in enumerate(listed) if size == each])


def _weights(length: int, size: int, device: torch.device) -> Tensor:
    """Return what each of `size` pixels counts for each of the 256, in `STEPS`, (256, size)."""
    before, after, step = score_positions(length, size)
    weights, each = np.zeros((SCORE_SIZE, size), np.float32), np.arange(SCORE_SIZE)
    np.add.at(weights, (each, before), STEPS - step)
    np.add.at(weights, (each, after), step)
    return torch.from_numpy(weights).to(device)


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
