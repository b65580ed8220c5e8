"""Operations that mix a training photo with others: copy-paste, mosaic and cutmix.

Each takes the photo (H, W, 3), its mask (H, W), the other training photos and a random stream, and gives a new photo
and mask of the same size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.builders import build
from trainable.classes import IGNORE_INDEX
from trainable.config import Choice
from trainable.dataset.cache import Cache
from trainable.images.resampling import resize_mask, resize_photo
from trainable.pipeline.object_patches import Patch, find_patches, paste
from trainable.pipeline.tiles import tile_of

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]
RESIZES = ("jitter", "small_to_large", "large_to_small")


@dataclass(frozen=True, eq=False)
class Others:
    """The training photos of the fold, and the objects on them."""

    cache: Cache
    positions: NDArray[np.int64]
    patches: tuple[Patch, ...]
    tile: int = 0  # pixels per side of the crops that are drawn; 0: whole photos

    def draw(self, rng: np.random.Generator) -> Sample:
        """Return one of the photos and its mask."""
        position = self.positions[rng.integers(len(self.positions))]
        return tile_of(self.cache, int(position), self.tile, rng)


@dataclass(frozen=True)
class Mix:
    """An operation that a photo gets with a chance."""

    p: float  # chance

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is a chance, 0 to 1, found {self.p:g}")

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], others: Others, rng: np.random.Generator
    ) -> Sample:
        """Return the photo and its mask, mixed or as they are."""
        return self.mix(image, mask, others, rng) if rng.random() < self.p else (image, mask)

    def mix(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], others: Others, rng: np.random.Generator
    ) -> Sample:
        """Mix the photo with others; the arrays given are the cache's own and are not written."""
        raise NotImplementedError


def build_mixing(choices: list[Choice]) -> list[Mix]:
    """Return the operations that `choices` name, in their order.

    Raises:
        ValueError: an unknown operation or parameter, or a value out of range.
    """
    return [build("mixing", choice, MIXING) for choice in choices]


def find_others(cache: Cache, positions: NDArray[np.int64], mixing: list[Mix], tile: int = 0) -> Others:
    """Return the training photos, with their objects where an operation needs them."""
    needed = any(isinstance(mix, CopyPaste) for mix in mixing)
    patches = find_patches(cache, positions, cache.classes.objects) if needed else ()
    return Others(cache, positions, patches, tile)


@dataclass(frozen=True)
class CopyPaste(Mix):
    """Objects of other photos pasted on, after large-scale jitter. Source: Ghiasi et al. 2021.

    `resize` adds what teams did on trash: small patches enlarged, or large ones shrunk, the others as they are.
    """

    p: float = 0.5  # chance
    most: int = 4  # objects, 1 to this many
    low: float = 0.5  # smallest scale of the photo and of an object; 0.1 in the paper
    high: float = 1.5  # largest; 2.0 in the paper
    resize: str = "jitter"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most < 1:
            raise ValueError(f"most must be at least 1 object, found {self.most}")
        if not 0.05 <= self.low <= 1 <= self.high <= 4:
            raise ValueError(f"scales must keep 0.05 <= low <= 1 <= high <= 4, found {self.low:g} and {self.high:g}")
        if self.resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, found {self.resize!r}")

    def mix(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], others: Others, rng: np.random.Generator
    ) -> Sample:
        """Jitter the photo's scale and paste objects on it."""
        if not others.patches:
            return image, mask
        image, mask = jitter_scale(image, mask, rng.uniform(self.low, self.high), rng)
        for _ in range(rng.integers(1, self.most + 1)):
            patch = others.patches[rng.integers(len(others.patches))]
            paste(image, mask, patch, others.cache, self._scale(patch, rng), rng)
        return image, mask

    def _scale(self, patch: Patch, rng: np.random.Generator) -> float:
        small = patch.area < 0.02  # a seventh of the side
        if self.resize == "small_to_large":
            return rng.uniform(1, self.high * 2) if small else 1.0
        if self.resize == "large_to_small":
            return 1.0 if small else rng.uniform(self.low, 1)
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class Mosaic(Mix):
    """Four photos around a point, each showing its own corner. Source: Bochkovskiy et al. 2020."""

    p: float = 0.3  # chance
    spread: float = 0.2  # how far the point may lie from the middle, as a share of the side

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.spread < 0.5:
            raise ValueError(f"spread is a share of the side, 0 to below 0.5, found {self.spread:g}")

    def mix(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], others: Others, rng: np.random.Generator
    ) -> Sample:
        """Keep one corner of the photo and take three from others."""
        height, width = mask.shape
        row, column = (round(side * rng.uniform(0.5 - self.spread, 0.5 + self.spread)) for side in (height, width))
        corners = [
            (rows, columns)
            for rows in (slice(0, row), slice(row, height))
            for columns in (slice(0, column), slice(column, width))
        ]
        kept_index = rng.integers(4)
        image, mask = image.copy(), mask.copy()
        for index, corner in enumerate(corners):
            if index != kept_index:
                other, truth = others.draw(rng)
                image[corner], mask[corner] = other[corner], truth[corner]
        return image, mask


@dataclass(frozen=True)
class CutMix(Mix):
    """A rectangle of another photo in its place. Source: Yun et al. 2019; on masks French et al. 2020."""

    p: float = 0.3  # chance
    area: float = 0.4  # largest rectangle, as a share of the photo

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.area <= 1:
            raise ValueError(f"area is a share of the photo, above 0 and at most 1, found {self.area:g}")

    def mix(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], others: Others, rng: np.random.Generator
    ) -> Sample:
        """Put the rectangle in."""
        share, aspect = rng.uniform(0, self.area), rng.uniform(0.5, 2)
        height, width = (
            min(max(round(side * (share * ratio) ** 0.5), 1), side)
            for side, ratio in zip(mask.shape, (aspect, 1 / aspect), strict=True)
        )
        top, left = (rng.integers(whole - part + 1) for whole, part in zip(mask.shape, (height, width), strict=True))
        box = (slice(top, top + height), slice(left, left + width))
        image, mask = image.copy(), mask.copy()
        other, truth = others.draw(rng)
        image[box], mask[box] = other[box], truth[box]
        return image, mask


MIXING: dict[str, Callable[..., Mix]] = {"copy_paste": CopyPaste, "mosaic": Mosaic, "cutmix": CutMix}


def jitter_scale(image: NDArray[np.uint8], mask: NDArray[np.uint8], scale: float, rng: np.random.Generator) -> Sample:
    """Return a photo and mask scaled, cropped or padded to their size at a random spot; the padding is ignored."""
    shape, scaled = mask.shape, tuple(max(round(side * scale), 1) for side in mask.shape)
    image, mask = resize_photo(image, *scaled), resize_mask(mask, *scaled)
    most = [abs(new - old) + 1 for new, old in zip(scaled, shape, strict=True)]
    square = most[0] == most[1]  # numpy draws other numbers where it is given two limits
    top, left = (int(offset) for offset in rng.integers(most[0] if square else most, size=2))
    if scale >= 1:
        box = (slice(top, top + shape[0]), slice(left, left + shape[1]))
        return image[box].copy(), mask[box].copy()
    wide, wide_mask = np.zeros((*shape, 3), np.uint8), np.full(shape, IGNORE_INDEX, np.uint8)
    box = (slice(top, top + scaled[0]), slice(left, left + scaled[1]))
    wide[box], wide_mask[box] = image, mask
    return wide, wide_mask
