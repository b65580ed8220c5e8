"""Predicts photos of any size by a network that takes tiles: windows that overlap, blended where they do.

Rows of windows are blended from top to bottom, and what is finished is handed on: memory grows with a photo's width,
not with its area.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainable.geometry import Geometry, Shape
from trainable.images.resampling import STEPS, padded
from trainable.metric.score_maps import score_grid
from trainable.run_folder.out_of_fold import kept, kept_shape, rounded

OVERLAP = 0.25
"""Share of a window that its neighbour covers too, at least: networks are least sure at the edges."""

Predict = Callable[[NDArray[np.uint8], list[tuple[int, int]]], Tensor]
"""Gives the probabilities (B, C, T, T) of windows (B, T, T, 3) of a photo, by the top and left of each in pixels."""


def starts(length: int, tile: int) -> list[int]:
    """Return where windows of `tile` pixels begin along a side of `length` pixels, evenly, from start to end."""
    if length <= tile:
        return [0]
    count = math.ceil((length - tile) / (tile * (1 - OVERLAP))) + 1
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def blended_rows(predict: Predict, photo: Any, tile: int, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the probabilities (C, rows, W) of parts of a photo, from top to bottom.

    Args:
        predict: the network's.
        photo: (H, W, 3) uint8, in memory or mapped from a file; where it is smaller than a window the rest is black.
        tile: pixels per side of a window.
        batch_size: windows at a time.
    """
    height, width = photo.shape[:2]
    tops, lefts = starts(height, tile), starts(width, tile)
    total: Tensor | None = None  # weighted sum (C, T, W), and last the sum of the weights
    for index, top in enumerate(tops):
        for first in range(0, len(lefts), batch_size):
            corners = [(top, left) for left in lefts[first : first + batch_size]]
            windows = [padded(np.asarray(photo[y : y + tile, x : x + tile]), (tile, tile)) for y, x in corners]
            maps = predict(np.stack(windows), corners)
            weight = _weight(tile, maps.device)
            if total is None:
                total = torch.zeros(maps.shape[1] + 1, tile, max(width, tile), device=maps.device)
            for (_, left), found in zip(corners, maps, strict=True):
                total[:-1, :, left : left + tile] += found * weight
                total[-1, :, left : left + tile] += weight
        assert total is not None
        finished = min((tops[index + 1] if index + 1 < len(tops) else height) - top, tile)
        yield top, total[:-1, :finished, :width] / total[-1:, :finished, :width]
        total = torch.cat([total[:, finished:], torch.zeros_like(total[:, :finished])], dim=1)


def kept_by_windows(
    predict: Predict,
    photo: Any,
    size: Shape,
    geometry: Geometry,
    tile: int,
    batch_size: int,
    observe: Callable[[int, Tensor], None] = lambda first, rows: None,
) -> Tensor:
    """Return a photo's probabilities as they are kept (`trainable/run_folder/out_of_fold.py`), (1, C, h, w) uint8.

    Args:
        predict: the network's.
        photo: (H, W, 3) uint8, in its frame.
        size: its own height and width in pixels.
        geometry: of the photos.
        tile: pixels per side of a window.
        batch_size: windows at a time.
        observe: told of the probabilities (C, rows, columns) of the frame from a first row on, without padding.
    """
    frame = (photo.shape[0], photo.shape[1])
    height, width = geometry.content(size, frame)
    small = kept_shape(frame, geometry) == frame
    scores, whole = ScoreFrame(size, frame, geometry), list[Tensor]()
    for first, rows in blended_rows(predict, photo[:height, :width], tile, batch_size):
        observe(first, rows)
        if small:
            whole.append(rows)
        else:
            scores.add(first, rows)
    if not small:
        return rounded(scores.maps()[None])
    maps = torch.cat(whole, 1)
    return kept(F.pad(maps, (0, frame[1] - width, 0, frame[0] - height))[None], np.array([size]), geometry)


class ScoreFrame:
    """Gathers rows of a photo's probabilities where the score looks, as `at_score_size` does of all rows at once."""

    def __init__(self, photo: Shape, frame: Shape, geometry: Geometry):
        """Begin with none.

        Args:
            photo: height and width of the photo in pixels.
            frame: that it lies in.
            geometry: of the photos.
        """
        self._rows, columns = score_grid(photo, frame, geometry)
        self._columns, self._shape = columns, geometry.score
        self._sum: Tensor | None = None

    def add(self, first: int, rows: Tensor) -> None:
        """Take the rows (C, R, W) of the frame from `first` on; each row comes once."""
        before, after, step = self._rows
        left, right, across = (torch.from_numpy(values).to(rows.device) for values in self._columns)
        if self._sum is None:
            self._sum = torch.zeros(rows.shape[0], *self._shape, device=rows.device)
        for source, weight in ((before, STEPS - step), (after, step)):
            at = np.flatnonzero((source >= first) & (source < first + rows.shape[1]))
            if not len(at):
                continue
            picked = rows[:, torch.from_numpy(source[at] - first).to(rows.device)]
            between = picked[:, :, left] * (STEPS - across) + picked[:, :, right] * across
            indices = torch.from_numpy(at).to(rows.device)
            self._sum[:, indices] += between * torch.from_numpy(weight[at]).to(rows.device)[:, None]

    def maps(self) -> Tensor:
        """Return the probabilities (C, h, w) of all rows."""
        assert self._sum is not None, "no row was added"
        return self._sum / STEPS**2


def _weight(tile: int, device: torch.device) -> Tensor:
    """Return what each pixel of a window counts, (T, T): most in its middle."""
    ramp = torch.arange(tile, device=device, dtype=torch.float32) + 0.5
    ramp = torch.minimum(ramp, tile - ramp) / tile
    return ramp[:, None] * ramp
