"""Crops of training photos, where a network trains on parts of photos."""

import numpy as np
from numpy.typing import NDArray

from trainable.classes import IGNORE_INDEX
from trainable.dataset.cache import Cache
from trainable.geometry import Shape
from trainable.images.resampling import padded


def crops_of(frame: Shape, tile: int) -> int:
    """Return how many crops an epoch takes of each photo: as many as have the frame's area, so that it costs alike."""
    return max(round(frame[0] * frame[1] / tile**2), 1) if tile else 1


def tile_of(
    cache: Cache, position: int, tile: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a random crop of a photo, (tile, tile, 3), and of its labels, (tile, tile); of tile 0 all of both.

    It lies within the photo where that is large enough; else the rest is black and ignored.
    """
    image, mask = cache.images[position], cache.labels(position, rng)
    if not tile:
        return image, mask
    height, width = (int(side) for side in cache.photo_sizes[position])
    content = cache.geometry.content((height, width), cache.frame)
    top, left = (int(rng.integers(max(side - tile, 0) + 1)) for side in content)
    box = slice(top, min(top + tile, content[0])), slice(left, min(left + tile, content[1]))
    return padded(image[box], (tile, tile)), padded(mask[box], (tile, tile), IGNORE_INDEX)
