"""What is worth knowing of a data set before it trains, computed from its photos or from their cache."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainable.classes import Classes
from trainable.data_facts.measuring import PhotoFacts
from trainable.data_facts.objects import Objects, annotated, pieces
from trainable.dataset.cache import Cache
from trainable.dataset.scene_groups import group_scenes, on_both_sides
from trainable.geometry import Geometry, Shape
from trainable.labelled_photos import Dataset, Photo, geometry_of

MASKS_OF_CACHE = 100
"""Masks of a cache whose pieces are counted: a search that begins does not wait for more."""

COMPARED = 500
"""Photos of a scene on each side among which the pair that looks most alike is searched."""

DARK, BRIGHT, BLANK = 25.0, 235.0, 3.0
"""Mean grey of photos that are nearly black or nearly white, and the contrast below which a photo shows nothing."""


@dataclass(frozen=True)
class DataFacts:
    """The usable photos of a data set, N of C classes, and the frame that they are to train in."""

    dataset: Dataset
    file_names: tuple[str, ...]
    class_pixels: NDArray[np.int64]  # (N, C) at the photos' own sizes
    photo_sizes: NDArray[np.int64]  # (N, 2) height and width in pixels
    objects: Objects
    geometry: Geometry
    image_size: int  # pixels of a photo's longer side in training
    scenes: NDArray[np.int64] | None = None  # (N,) photos that look alike share a number; None: not looked at
    brightness: NDArray[np.float64] | None = None  # (N,) mean grey, 0 to 255
    contrast: NDArray[np.float64] | None = None  # (N,) standard deviation of grey
    hashes: NDArray[np.uint64] | None = None  # (N, 8), see `scene_hashes`

    def __len__(self) -> int:
        return len(self.file_names)

    @cached_property
    def photo_by_name(self) -> dict[str, Photo]:
        """Return the photos of the data set by their names."""
        return {photo.file_name: photo for photo in self.dataset.photos}

    @property
    def classes(self) -> Classes:
        """Return the classes."""
        return self.dataset.classes

    @property
    def frame(self) -> Shape:
        """Return the height and width of a training photo."""
        return self.geometry.frame(self.image_size)

    @property
    def pixel_shares(self) -> NDArray[np.float64]:
        """Return each class's share of the pixels that have one, (C,)."""
        pixels = self.class_pixels.sum(axis=0)
        return pixels / max(int(pixels.sum()), 1)

    @property
    def ignored(self) -> float:
        """Return the share of the pixels that have no class."""
        return 1 - float(self.class_pixels.sum()) / max(float(self.photo_sizes.prod(axis=1).sum()), 1.0)

    @property
    def photos_with(self) -> NDArray[np.int64]:
        """Return how many photos each class is on, (C,)."""
        return np.asarray((self.class_pixels > 0).sum(axis=0))

    @property
    def without_objects(self) -> list[str]:
        """Return the photos that have no class but background."""
        empty = self.class_pixels[:, list(self.classes.objects)].sum(axis=1) == 0
        return [name for name, none in zip(self.file_names, empty, strict=True) if none]

    @cached_property
    def content(self) -> NDArray[np.int64]:
        """Return the height and width of the part of the frame that each photo fills, (N, 2)."""
        return np.array([self.geometry.content((int(h), int(w)), self.frame) for h, w in self.photo_sizes])

    @property
    def padding(self) -> float:
        """Return the share of the frames that no photo fills."""
        return 1 - float(self.content.prod(axis=1).mean()) / float(np.prod(self.frame))

    @property
    def enlarged(self) -> float:
        """Return how many times as long as its own a photo's longer side is in training; of most, the median."""
        return float(np.median(self.content.max(axis=1) / self.photo_sizes.max(axis=1)))

    @cached_property
    def sides(self) -> NDArray[np.float64]:
        """Return each object's side in pixels in training, (M,): of a square of as many pixels."""
        scale = self.content.prod(axis=1) / self.photo_sizes.prod(axis=1)
        return np.asarray(np.sqrt(self.objects.area * scale[self.objects.photo]))

    @cached_property
    def side_shares(self) -> NDArray[np.float64]:
        """Return each object's side as share of the photo's longer side, (M,)."""
        return np.asarray(np.sqrt(self.objects.area) / self.photo_sizes.max(axis=1)[self.objects.photo])

    @property
    def splits(self) -> Counter[str]:
        """Return how many photos the data gives to `train` and to `val`."""
        return Counter(split for name in self.file_names if (split := self.dataset.given.get(name)))

    @property
    def gives_split(self) -> bool:
        """Tell whether the data says which photos train and which validate."""
        return {"train", "val"} <= self.splits.keys()

    @cached_property
    def shared_scenes(self) -> list[list[int]]:
        """Return the positions of the photos of each scene that lies on both sides of the data's own split."""
        if self.scenes is None or not self.gives_split:
            return []
        validates = np.array([self.dataset.given.get(name) == "val" for name in self.file_names])
        return [np.flatnonzero(self.scenes == scene).tolist() for scene in on_both_sides(self.scenes, validates)]

    @cached_property
    def large_scenes(self) -> list[list[int]]:
        """Return the positions of the photos of each scene of several, the largest scene first."""
        if self.scenes is None:
            return []
        order = np.argsort(self.scenes, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.scenes[order])) + 1)
        return sorted((part.tolist() for part in parts if len(part) > 1), key=lambda part: (-len(part), part[0]))

    @property
    def identical(self) -> int:
        """Return how many photos have the very hash of one before them: most are the same picture."""
        return 0 if self.hashes is None else len(self) - len(np.unique(self.hashes[:, 0]))

    def nearest_pair(self, scene: Sequence[int]) -> tuple[int, int]:
        """Return, of a scene on both sides of the split, the train and the val photo that look most alike."""
        assert self.hashes is not None
        val = [at for at in scene if self.dataset.given.get(self.file_names[at]) == "val"][:COMPARED]
        train = [at for at in scene if at not in set(val)][:COMPARED]
        differing = np.bitwise_count(self.hashes[train][:, None, :] ^ self.hashes[val][None, :, :1]).min(axis=2)
        row, column = np.unravel_index(int(differing.argmin()), differing.shape)
        return train[row], val[column]

    def by_brightness(self) -> dict[str, list[str]]:
        """Return the photos that are blank, nearly black or nearly white, by what they are."""
        if self.brightness is None or self.contrast is None:
            return {}
        blank = self.contrast < BLANK
        kinds = {
            "blank": blank,
            "nearly black": ~blank & (self.brightness < DARK),
            "nearly white": ~blank & (self.brightness > BRIGHT),
        }
        return {kind: [self.file_names[at] for at in np.flatnonzero(found)] for kind, found in kinds.items()}

    @classmethod
    def of_photos(cls, dataset: Dataset, photos: Sequence[PhotoFacts], image_size: int) -> "DataFacts":
        """Join what photos show, see `measure`; there must be one at least."""
        kept = [dataset.photos[each.position] for each in photos]
        sizes = [(photo.height, photo.width) for photo in kept]
        names = tuple(photo.file_name for photo in kept)
        hashes = np.array([each.hashes for each in photos])
        return cls(
            dataset,
            names,
            np.array([each.class_pixels for each in photos]),
            np.array(sizes, np.int64),
            Objects.of([(at, each.areas) for at, each in enumerate(photos) if each.areas is not None]),
            geometry_of(replace(dataset, photos=tuple(kept), problems=())),
            image_size,
            group_scenes(hashes, names),
            np.array([each.brightness for each in photos]),
            np.array([each.contrast for each in photos]),
            hashes,
        )

    @classmethod
    def of_cache(cls, dataset: Dataset, cache: Cache, image_size: int) -> "DataFacts":
        """Read off what a cache shows, in a second or so; scenes and brightness are not looked at.

        Objects of masks are the pieces of some masks at the training size.
        """
        of_name = {photo.file_name: photo for photo in dataset.photos}
        photos = [of_name[name] for name in cache.file_names]
        found: list[tuple[int, list[tuple[int, float]]]] = [
            (at, annotated(photo, dataset.classes)) for at, photo in enumerate(photos) if not photo.mask
        ]
        masks = [at for at, photo in enumerate(photos) if photo.mask]
        for at in masks[:: max(-(-len(masks) // MASKS_OF_CACHE), 1)]:
            height, width = photos[at].height, photos[at].width
            rows, columns = cache.geometry.content((height, width), cache.frame)
            scale = height * width / (rows * columns)
            small = pieces(np.ascontiguousarray(cache.masks[at, :rows, :columns]), dataset.classes)
            found.append((at, [(index, area * scale) for index, area in small]))
        return cls(
            dataset,
            cache.file_names,
            np.asarray(cache.class_pixels),
            np.asarray(cache.photo_sizes),
            Objects.of(found),
            cache.geometry,
            image_size,
        )
