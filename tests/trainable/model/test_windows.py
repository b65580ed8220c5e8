"""Predictions by windows: every pixel counted once, the same as all at once, and no more memory for taller photos."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainable.geometry import Geometry
from trainable.metric.score_maps import at_score_size
from trainable.model.windows import OVERLAP, ScoreFrame, blended_rows, starts

sides = st.integers(1, 300)


def by_colour(windows, corners):
    """A network that looks at each pixel alone: what it says does not depend on the window."""
    red = torch.from_numpy(windows[..., 0].astype(np.float32)) / 255
    return torch.stack([red, 1 - red], dim=1)


@given(sides, st.integers(8, 96))
def test_windows_cover_a_side_and_overlap(length, tile):
    found = starts(length, tile)
    assert found[0] == 0 and found == sorted(set(found))
    assert found[-1] == max(length - tile, 0)
    assert all(after - before <= tile * (1 - OVERLAP) + 1 for before, after in pairwise(found))


@pytest.mark.parametrize("shape", [(20, 33), (64, 64), (65, 200), (301, 64), (150, 170)])
def test_blended_rows_are_those_of_all_at_once(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    parts = list(blended_rows(by_colour, photo, 64, 3))
    assert [first for first, _ in parts] == list(np.cumsum([0, *[rows.shape[1] for _, rows in parts]])[:-1])
    rows = torch.cat([rows for _, rows in parts], dim=1)
    assert rows.shape == (2, *shape)
    torch.testing.assert_close(rows[0], torch.from_numpy(photo[..., 0].astype(np.float32)) / 255)


def test_a_window_counts_most_in_its_middle():
    def by_window(windows, corners):
        values = torch.tensor([float(left > 0) for _, left in corners])
        return values[:, None, None, None].expand(-1, 1, 64, 64)

    ((_, rows),) = blended_rows(by_window, np.zeros((64, 112, 3), np.uint8), 64, 8)
    across = rows[0, 0]
    assert (across[:48] == 0).all() and (across[64:] == 1).all() and (across.diff() >= 0).all()
    assert across[56] == pytest.approx(0.53, abs=0.1)


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(0.75, (96, 128), False), Geometry(0.5, (40, 50), False)])
@pytest.mark.parametrize("photo", [(480, 640), (640, 480), (96, 128), (50, 640)])
def test_score_frame_gathers_what_the_whole_gives(geometry, photo):
    frame = geometry.frame(160)
    maps = torch.rand(1, 4, *frame, generator=torch.Generator().manual_seed(1))
    gathered = ScoreFrame(photo, frame, geometry)
    for first in range(0, frame[0], 37):
        gathered.add(first, maps[0, :, first : first + 37])
    torch.testing.assert_close(gathered.maps(), at_score_size(maps, [photo], geometry)[0])


def test_memory_does_not_grow_with_a_photos_height():
    def peak(height):
        photo = np.zeros((height, 512, 3), np.uint8)
        tracemalloc.start()
        try:
            for _ in blended_rows(lambda windows, _: torch.zeros(len(windows), 2, 128, 128), photo, 128, 2):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(256)  # imports
    assert peak(8192) < 1.5 * peak(512)
