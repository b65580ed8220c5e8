"""Patches of objects in training photos, and how one is put on another photo."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.classes import IGNORE_INDEX
from trainable.dataset.cache import Cache
from trainable.images.resampling import mirrored_mask, resize_mask, resize_photo

KNOWN_SIZES = 3
"""Files of masks, one for each image size, whose pieces are kept: those that the trials of a search choose from."""

_known: "OrderedDict[str, dict[tuple[int, int], list[Patch]]]" = OrderedDict()

SMALLEST = 4
"""Pixels of the smallest component that counts as a patch."""


@dataclass(frozen=True, eq=False)
class Patch:
    """One connected piece of one class in one photo."""

    position: int  # of the photo in the cache
    class_index: int
    top: int  # pixels
    left: int
    shape: NDArray[np.bool_]  # (h, w): which pixels of the box are the object's
    area: float  # share of the photo

    def pixels(self, cache: Cache) -> NDArray[np.uint8]:
        """Return the box's pixels, (h, w, 3)."""
        height, width = self.shape.shape
        return cache.images[self.position, self.top : self.top + height, self.left : self.left + width]

    def labels(self, cache: Cache, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the class of the box's pixels, (h, w), drawn as sure as its labels are, see `Cache.labels`."""
        height, width = self.shape.shape
        drawn = cache.labels(self.position, rng)[self.top : self.top + height, self.left : self.left + width]
        return np.where(self.shape & (drawn == self.class_index), np.uint8(self.class_index), np.uint8(IGNORE_INDEX))


def find_patches(cache: Cache, positions: NDArray[np.int64], classes: Iterable[int]) -> tuple[Patch, ...]:
    """Return every connected piece of some classes in some photos of a cache."""
    patches = []
    for class_index in classes:
        for position in positions[np.asarray(cache.class_pixels)[positions, class_index] > 0]:
            patches += _pieces_once(cache, int(position), class_index)
    return tuple(patches)


def rarest_classes(cache: Cache, positions: NDArray[np.int64], count: int) -> tuple[int, ...]:
    """Return the `count` classes on the fewest of some photos, the rarest first; those on none are left out."""
    photos = (np.asarray(cache.class_pixels)[positions] > 0).sum(0)
    present = [index for index in cache.classes.objects if photos[index]]
    return tuple(sorted(present, key=lambda index: int(photos[index]))[:count])


def within(patches: Sequence[Patch], min_area: float, max_area: float) -> tuple[Patch, ...]:
    """Return the patches of an area, in shares of the photo.

    Raises:
        ValueError: the areas are no range, or no patch has such an area.
    """
    if not 0 <= min_area < max_area <= 1:
        raise ValueError(f"patch areas must keep 0 <= min_area < max_area <= 1, found {min_area:g} to {max_area:g}")
    fitting = tuple(patch for patch in patches if min_area <= patch.area <= max_area)
    if not fitting:
        areas = [patch.area for patch in patches]
        actual = f"those there are cover {min(areas):.2g} to {max(areas):.2g}" if areas else "there is none at all"
        raise ValueError(
            f"no patch to paste covers {min_area:g} to {max_area:g} of its photo: {actual}; widen the range or count "
            "more classes as rare"
        )
    return fitting


def paste(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    patch: Patch,
    cache: Cache,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Put a patch on a photo (H, W, 3) and its mask (H, W), in place: at a random spot, resized and perhaps flipped.

    A flipped patch has the class that its own is in a mirror.
    """
    limit = min(side / own for side, own in zip(mask.shape, patch.shape.shape, strict=True))
    height, width = (max(round(min(scale, limit) * side), 1) for side in patch.shape.shape)
    pixels = resize_photo(patch.pixels(cache), height, width)
    shape = resize_mask(patch.shape.view(np.uint8), height, width).astype(bool)
    labels = resize_mask(patch.labels(cache, rng), height, width)
    for axis in (0, 1) if cache.classes.may_mirror else ():
        if rng.random() < 0.5:
            pixels, shape, labels = (np.flip(array, axis) for array in (pixels, shape, labels))
            labels = mirrored_mask(labels, cache.classes.mirrored) if cache.classes.mirror else labels
    top, left = rng.integers(mask.shape[0] - height + 1), rng.integers(mask.shape[1] - width + 1)
    image[top : top + height, left : left + width][shape] = pixels[shape]
    mask[top : top + height, left : left + width][shape] = labels[shape]


def _pieces_once(cache: Cache, position: int, class_index: int) -> list[Patch]:
    """Return the pieces of a class in a photo, looked for once in this process where the masks are a file's.

    Trials of one fold look for the same ones, and each in its oversampling, its mixing and its attestation.
    """
    file = getattr(cache.masks, "filename", None)
    if file is None:
        return _pieces(cache.masks[position], position, class_index)
    known = _known.setdefault(str(file), {})
    _known.move_to_end(str(file))
    while len(_known) > KNOWN_SIZES:
        _known.popitem(last=False)
    key = position, class_index
    if key not in known:
        known[key] = _pieces(cache.masks[position], position, class_index)
    return known[key]


def _pieces(mask: NDArray[np.uint8], position: int, class_index: int) -> list[Patch]:
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((mask == class_index).astype(np.uint8))
    patches = []
    for label, (left, top, width, height, pixels) in enumerate(boxes[1:], start=1):
        if pixels >= SMALLEST:
            shape = labels[top : top + height, left : left + width] == label
            patches.append(Patch(position, class_index, int(top), int(left), shape, float(pixels) / mask.size))
    return patches
