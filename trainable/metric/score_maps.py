"""Reads predictions off where the score looks, the same in a training, an ensemble and a submission.

N photos, C classes; H x W is the frame that the network saw, h x w the frame where the score looks, see
`trainable/geometry.py`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape
from trainable.images.resampling import STEPS, score_positions

COMPETITION_SIZE = (512, 512)
"""Height and width of the competition's photos, in pixels."""

KEPT_WEIGHTS = 16
"""Sizes of photos for which it is kept what each pixel counts: some megabytes each, of as many sizes as data has."""

Sizes = Sequence[tuple[int, int]] | NDArray[np.int64]
"""Height and width of each photo, (N, 2), in pixels."""

Positions = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""See `score_positions`."""


def at_score_size(maps: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY) -> Tensor:
    """Return maps (N, C, H, W) where the score looks, (N, C, h, w) float32, linear between the pixels.

    Args:
        maps: probabilities, or whole numbers of at most 8 bits, for which the result is exact.
        sizes: of the photos; those of the competition if not given.
        geometry: of the photos. Beyond a photo its edge goes on.
    """
    scaled = torch.empty(*maps.shape[:2], *geometry.score, device=maps.device)
    for size, rows in _by_size(len(maps), sizes):
        down, across = _weights(size, _shape(maps), geometry, maps.device)
        scaled[rows] = down @ maps[rows].float() @ across.T
    return scaled / STEPS**2


def classes_at_score_size(
    maps: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY
) -> Tensor:
    """Return the likeliest class of maps (N, C, H, W) of bytes where the score looks, (N, h, w) uint8.

    The same as `at_score_size(maps, sizes, geometry).max(1).indices`, in a fraction of the time: where the four pixels
    around have one class, what lies between them has it too.
    """
    if maps.device.type != "cpu":  # where it would wait to know how many pixels differ, and a product costs little
        return at_score_size(maps, sizes, geometry).max(1).indices.to(torch.uint8)
    classes = maps.max(1).indices.to(torch.uint8)
    likeliest = torch.empty(len(maps), *geometry.score, dtype=torch.uint8, device=maps.device)
    for size, rows in _by_size(len(maps), sizes):
        (top, bottom, _), (left, right, _) = score_grid(size, _shape(maps), geometry)
        here = classes[rows]
        around = [
            here[:, torch.from_numpy(row)[:, None], torch.from_numpy(column)]
            for row in (top, bottom)
            for column in (left, right)
        ]
        differ = (around[0] != around[1]) | (around[0] != around[2]) | (around[0] != around[3])
        photo, row, column = differ.nonzero(as_tuple=True)
        at = at_score_pixels(maps[rows], photo, row, column, size, geometry)
        around[0][photo, row, column] = at.max(1).indices.to(torch.uint8)
        likeliest[rows] = around[0]
    return likeliest


def at_score_pixels(
    maps: Tensor,
    photo: Tensor,
    row: Tensor,
    column: Tensor,
    size: Shape,
    geometry: Geometry = COMPETITION_GEOMETRY,
) -> Tensor:
    """Return `at_score_size` at P pixels alone, (P, C) float32.

    Args:
        maps: (N, C, H, W) of photos of one size.
        photo: (P,) index of the photo.
        row: (P,) of the score's frame.
        column: (P,) of the score's frame.
        size: height and width of the photos.
        geometry: of the photos.
    """
    last = maps.permute(0, 2, 3, 1)
    (top, bottom, down), (left, right, across) = (
        [torch.from_numpy(positions).to(maps.device)[index] for positions in side]
        for side, index in zip(score_grid(size, _shape(maps), geometry), (row, column), strict=True)
    )
    down, across = down[:, None].float(), across[:, None].float()
    upper = last[photo, top, left] * (STEPS - across) + last[photo, top, right] * across
    lower = last[photo, bottom, left] * (STEPS - across) + last[photo, bottom, right] * across
    return (upper * (STEPS - down) + lower * down) / STEPS**2


def _by_size(photos: int, sizes: Sizes | None) -> Iterator[tuple[Shape, Tensor | slice]]:
    """Yield each size that there is and which photos have it."""
    listed = [(int(height), int(width)) for height, width in sizes] if sizes is not None else [COMPETITION_SIZE]
    if len(set(listed)) == 1:
        yield listed[0], slice(photos)
        return
    for photo_size in sorted(set(listed)):
        yield photo_size, torch.tensor([row for row, size in enumerate(listed) if size == photo_size])


def _shape(maps: Tensor) -> Shape:
    return maps.shape[2], maps.shape[3]


def score_grid(photo: Shape, frame: Shape, geometry: Geometry) -> tuple[Positions, Positions]:
    """Return where the score looks at a photo in a network's frame, by row and by column."""
    content, scored = geometry.content(photo, frame), geometry.scored(photo)
    down, across = (
        score_positions(length, size, looked_at, side)
        for length, size, looked_at, side in zip(photo, content, scored, geometry.score, strict=True)
    )
    return down, across


@lru_cache(maxsize=KEPT_WEIGHTS)
def _weights(photo: Shape, frame: Shape, geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what each pixel of a network's frame counts for each where the score looks, (h, H) and (w, W)."""
    both = []
    for (before, after, step), size in zip(score_grid(photo, frame, geometry), frame, strict=True):
        weights, pixels = np.zeros((len(before), size), np.float32), np.arange(len(before))
        np.add.at(weights, (pixels, before), STEPS - step)
        np.add.at(weights, (pixels, after), step)
        both.append(torch.from_numpy(weights).to(device))
    return both[0], both[1]
