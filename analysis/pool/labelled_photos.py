"""The labelled photos that a pool's trials predicted out of fold: their pixels and their truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.pool.candidates import Pool
from analysis.pool.run_data import run_cache, run_dataset
from trainable.classes import COMPETITION, Classes
from trainable.counts import agrees, counted
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.scene_groups import group_scenes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape
from trainable.images.photo_files import upright
from trainable.images.resampling import resize_photo
from trainable.labelled_photos import Dataset
from trainable.machine.called_as import command_line

PARTS = 5
"""Parts of a cross-validation over the photos of too few folds."""


@dataclass(frozen=True)
class Labelled:
    """N labelled photos."""

    dataset: Dataset
    cache_dir: Path
    skip_bad: bool
    file_names: tuple[str, ...]
    fold: NDArray[np.int64]  # (N,) that validates the photo
    part: NDArray[np.int64]  # (N,) of the nested cross-validation: the fold, or random where there are too few folds
    caches: dict[int, Cache] = field(default_factory=dict)
    classes: Classes = COMPETITION
    geometry: Geometry = COMPETITION_GEOMETRY  # of the photos

    def images(self, size: int, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return photos as a training at an image size sees them, in its frame, (n, H, W, 3)."""
        return self._cache(size, self.geometry).images[self._rows[positions]]

    def truth(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the class indices of photos where the score looks, (n, h, w); padding is ignored."""
        return next(iter(self.caches.values())).score_masks[self._rows[positions]]

    def sizes(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the own height and width of photos in pixels, (n, 2)."""
        return next(iter(self.caches.values())).photo_sizes[self._rows[positions]]

    def content(self, position: int) -> Shape:
        """Return the part of the score's frame that a photo fills."""
        own = self.sizes([position])[0].tolist()
        return self.geometry.score if self.geometry.stretched else self.geometry.scored((own[0], own[1]))

    def scored_photos(self, positions: Sequence[int] | NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Return photos as large as they are scored, without padding, (h', w', 3) each."""
        height, width = self.geometry.score
        if self.geometry.stretched and height == width:  # the frame of a network that sees photos so
            return list(self._cache(height, replace(self.geometry, aspect=0.0)).images[self._rows[positions]])
        path_of = {photo.file_name: photo.path for photo in self.dataset.photos}
        read = ((position, np.asarray(upright(path_of[self.file_names[position]]))) for position in positions)
        return [resize_photo(photo, *self.content(int(position))) for position, photo in read]

    def groups(self, most: int = 40) -> list[NDArray[np.int64]]:
        """Return positions of photos, each group of one part and fold and of `most` photos at most."""
        pairs = sorted(set(zip(self.part.tolist(), self.fold.tolist(), strict=True)))
        whole = [np.flatnonzero((self.part == part) & (self.fold == fold)) for part, fold in pairs]
        return [positions[start : start + most] for positions in whole for start in range(0, len(positions), most)]

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        row_of = {name: row for row, name in enumerate(next(iter(self.caches.values())).file_names)}
        return np.array([row_of[name] for name in self.file_names])

    def _cache(self, size: int, geometry: Geometry) -> Cache:
        key = size if geometry == self.geometry else -size  # the photos stretched to squares
        if key not in self.caches:
            self.caches[key] = build_cache(
                self.dataset, size, self.cache_dir, geometry=geometry, skip_bad=self.skip_bad
            )[0]
        return self.caches[key]


def open_labelled(pool: Pool, data: Path | None = None) -> Labelled:
    """Find the photos of a pool where its run had them, or in `data`.

    Raises:
        ValueError: the annotations there are not those of the run, or photos are gone.
    """
    search = pool.search
    dataset, size = run_dataset(search, data), search.image_size
    cache = run_cache(search, dataset, size)
    fold_of = pool.fold_of
    names = tuple(name for name in cache.file_names if name in fold_of)
    if len(names) < len(fold_of):
        gone = min(set(fold_of) - set(names))
        count = len(fold_of) - len(names)
        are = f"{counted(count, 'photo')} of the run {agrees(count, 'is', 'are')}"
        raise ValueError(f"{are} gone from {dataset.root}, such as {gone}")
    fold = np.array([fold_of[name] for name in names])
    part = fold
    if len(pool.covered) < 3:
        rows = [index for index, name in enumerate(cache.file_names) if name in fold_of]
        scenes = np.unique(group_scenes(np.asarray(cache.scene_hashes)[rows], names), return_inverse=True)[1]
        part = scene_parts(scenes)[scenes]
    return Labelled(
        dataset, search.cache_dir, search.skip_bad, names, fold, part, {size: cache}, search.classes, search.geometry
    )


def scene_parts(scenes: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Return the part of each scene, of about as many photos each: the largest scenes are dealt first.

    Args:
        scenes: (N,) the scene of each photo, from 0 on.
        seed: of the order of scenes of one size.

    Raises:
        ValueError: all photos are of one scene, so that nothing could be scored on photos that it was not chosen on.
    """
    sizes = np.bincount(scenes)
    if len(sizes) < 2:
        confirm = command_line("search/run.py", "--confirm", "NAME")
        raise ValueError(
            f"the {len(scenes)} photos that these trials validated on are of one scene: what is chosen on them cannot "
            f"be scored on others. Train on more folds ({confirm}), or on data "
            "whose one fold has more scenes, then make the ensemble again"
        )
    part, dealt = np.empty(len(sizes), np.int64), np.zeros(min(PARTS, len(sizes)), np.int64)
    by_chance = np.argsort(np.random.default_rng(seed).permutation(len(sizes)))
    for scene in by_chance[np.argsort(-sizes[by_chance], kind="stable")]:
        part[scene] = dealt.argmin()
        dealt[part[scene]] += sizes[scene]
    return part
