"""Reads predictions off where the score looks, the same in a training, an ensemble and a submission.

N photos, C classes, S pixels per side.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.images.resampling import SCORE_SIZE, STEPS, score_positions

COMPETITION_SIZE = (512, 512)
"""Height and width of the competition's photos, in pixels."""

Sizes = Sequence[tuple[int, int]] | NDArray[np.int64]
"""Height and width of each photo, (N, 2), in pixels."""


def at_score_size(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return maps (N, C, S, S) where the score looks, (N, C, 256, 256) float32, linear between the pixels.

    Args:
        maps: probabilities, or whole numbers of at most 8 bits, for which the result is exact.
        sizes: of the photos; those of the competition if not given.
    """
    scaled = torch.empty(*maps.shape[:2], SCORE_SIZE, SCORE_SIZE, device=maps.device)
    for size, rows in _by_size(len(maps), sizes):
        down, across = (_weights(length, side, maps.device) for length, side in zip(size, maps.shape[2:], strict=True))
        scaled[rows] = down @ maps[rows].float() @ across.T
    return scaled / STEPS**2


def classes_at_score_size(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return the likeliest class of maps (N, C, S, S) of bytes where the score looks, (N, 256, 256) uint8.

    The same as `at_score_size(maps, sizes).max(1).indices`, in a fraction of the time: where the four pixels around
    have one class, what lies between them has it too.
    """
    if maps.device.type != "cpu":  # where it would wait to know how many pixels differ, and a product costs little
        return at_score_size(maps, sizes).max(1).indices.to(torch.uint8)
    classes = maps.max(1).indices.to(torch.uint8)
    likeliest = torch.empty(len(maps), SCORE_SIZE, SCORE_SIZE, dtype=torch.uint8, device=maps.device)
    for (height, width), rows in _by_size(len(maps), sizes):
        top, bottom, _ = score_positions(height, maps.shape[2])
        left, right, _ = score_positions(width, maps.shape[3])
        here = classes[rows]
        around = [
            here[:, torch.from_numpy(row)[:, None], torch.from_numpy(column)]
            for row in (top, bottom)
            for column in (left, right)
        ]
        differ = (around[0] != around[1]) | (around[0] != around[2]) | (around[0] != around[3])
        photo, row, column = differ.nonzero(as_tuple=True)
        at = at_score_pixels(maps[rows], photo, row, column, (height, width))
        around[0][photo, row, column] = at.max(1).indices.to(torch.uint8)
        likeliest[rows] = around[0]
    return likeliest


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
        [torch.from_numpy(positions).to(maps.device)[index] for positions in score_positions(length, side)]
        for length, side, index in ((size[0], maps.shape[2], row), (size[1], maps.shape[3], column))
    )
    down, across = down[:, None].float(), across[:, None].float()
    upper = last[photo, top, left] * (STEPS - across) + last[photo, top, right] * across
    lower = last[photo, bottom, left] * (STEPS - across) + last[photo, bottom, right] * across
    return (upper * (STEPS - down) + lower * down) / STEPS**2


def _by_size(photos: int, sizes: Sizes | None) -> Iterator[tuple[tuple[int, int], Tensor | slice]]:
    """Yield each size that there is and which photos have it."""
    listed = [(int(height), int(width)) for height, width in sizes] if sizes is not None else [COMPETITION_SIZE]
    if len(set(listed)) == 1:
        yield listed[0], slice(photos)
        return
    for photo_size in sorted(set(listed)):
        yield photo_size, torch.tensor([row for row, size in enumerate(listed) if size == photo_size])


@cache
def _weights(length: int, size: int, device: torch.device) -> Tensor:
    """Return what each of `size` pixels counts for each of the 256, in `STEPS`, (256, size)."""
    before, after, step = score_positions(length, size)
    weights, pixels = np.zeros((SCORE_SIZE, size), np.float32), np.arange(SCORE_SIZE)
    np.add.at(weights, (pixels, before), STEPS - step)
    np.add.at(weights, (pixels, after), step)
    return torch.from_numpy(weights).to(device)
