"""The labelled photos that a pool's trials predicted out of fold: their pixels and their truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.pool.candidates import Pool
from analysis.pool.run_data import run_dataset
from trainable.counts import agrees, counted
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.scene_groups import group_scenes
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

    def images(self, size: int, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return photos as a training at an image size sees them, (n, S, S, 3)."""
        return self._cache(size).images[self._rows[positions]]

    def truth(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the class indices of photos at 256 x 256, (n, 256, 256)."""
        return next(iter(self.caches.values())).score_masks[self._rows[positions]]

    def sizes(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the own height and width of photos in pixels, (n, 2)."""
        return next(iter(self.caches.values())).photo_sizes[self._rows[positions]]

    def groups(self, most: int = 40) -> list[NDArray[np.int64]]:
        """Return positions of photos, each group of one part and fold and of `most` photos at most."""
        pairs = sorted(set(zip(self.part.tolist(), self.fold.tolist(), strict=True)))
        whole = [np.flatnonzero((self.part == part) & (self.fold == fold)) for part, fold in pairs]
        return [positions[start : start + most] for positions in whole for start in range(0, len(positions), most)]

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        row_of = {name: row for row, name in enumerate(next(iter(self.caches.values())).file_names)}
        return np.array([row_of[name] for name in self.file_names])

    def _cache(self, size: int) -> Cache:
        if size not in self.caches:
            self.caches[size] = build_cache(self.dataset, size, self.cache_dir, skip_bad=self.skip_bad)[0]
        return self.caches[size]


def open_labelled(pool: Pool, data: Path | None = None) -> Labelled:
    """Find the photos of a pool where its run had them, or in `data`.

    Raises:
        ValueError: the annotations there are not those of the run, or photos are gone.
    """
    search = pool.search
    dataset, size = run_dataset(search, data), search.image_size
    cache = build_cache(dataset, size, search.cache_dir, skip_bad=search.skip_bad)[0]
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
    return Labelled(dataset, search.cache_dir, search.skip_bad, names, fold, part, {size: cache})


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
            f"be scored on others. Train on more folds ({confirm}), then make the ensemble again"
        )
    part, dealt = np.empty(len(sizes), np.int64), np.zeros(min(PARTS, len(sizes)), np.int64)
    by_chance = np.argsort(np.random.default_rng(seed).permutation(len(sizes)))
    for scene in by_chance[np.argsort(-sizes[by_chance], kind="stable")]:
        part[scene] = dealt.argmin()
        dealt[part[scene]] += sizes[scene]
    return part
