"""The labelled photos of a data folder and further training photos, as if of one cache; nothing is copied."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.dataset.cache import Cache
from trainable.dataset.scene_groups import same_scenes

PREFIX = "extra/"
"""Before the names of the further photos: another folder may use the same names for other photos."""

SMALL = ("class_pixels", "photo_sizes", "annotation_counts", "scene_hashes")
LARGE = ("images", "masks", "score_masks")
"""The arrays of a cache that are joined by a copy, and those that stay where they are."""


class LeakError(ValueError):
    """A further training photo is a labelled photo, or of its scene: some fold would validate on what it trained on."""


class Rows:
    """The rows of two arrays, one after the other; indexed as a cache's arrays are: by row first."""

    def __init__(self, first: NDArray[Any], second: NDArray[Any]):
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        rows, inner = (np.asarray(key[0]), key[1:]) if isinstance(key, tuple) else (np.asarray(key), ())
        if (rows < len(self.first)).all():
            return self.first[key]
        if rows.ndim:
            return np.stack([self.__getitem__((row, *inner)) for row in rows])
        return self.second.__getitem__((rows - len(self.first), *inner))


def join(cache: Cache, extra: Cache) -> Cache:
    """Return the photos of a cache and, after them, those of another at the same image size."""
    small: dict[str, Any] = {name: np.concatenate([getattr(cache, name), getattr(extra, name)]) for name in SMALL}
    large: dict[str, Any] = {name: Rows(getattr(cache, name), getattr(extra, name)) for name in LARGE}
    names = cache.file_names + tuple(f"{PREFIX}{name}" for name in extra.file_names)
    return replace(cache, file_names=names, **small, **large, confidence=extra.confidence)


def leaks(cache: Cache, extra: Cache) -> dict[int, str]:
    """Return the labelled photo that a further photo is, or whose scene it shows, by its position in `extra`.

    A file of the same bytes has the same perceptual hash, and a copy in another size or format nearly the same.
    """
    matches = same_scenes(extra.scene_hashes, cache.scene_hashes)
    return {position: cache.file_names[other] for position, other in enumerate(matches) if other >= 0}


def safe_positions(cache: Cache, extra: Cache, skip_bad: bool) -> NDArray[np.int64]:
    """Return the positions in `extra` of the photos to train on.

    Raises:
        LeakError: some are labelled photos or of their scenes, and `skip_bad` does not leave them out; or none is left.
    """
    leaking = leaks(cache, extra)
    if leaking and not skip_bad:
        raise LeakError(f"{leak_text(leaking, extra)}: remove them, or pass --skip-bad to leave them out")
    safe = np.array([position for position in range(len(extra.file_names)) if position not in leaking], np.int64)
    if not len(safe):
        raise LeakError(f"no extra photo is left to train on: {leak_text(leaking, extra)}")
    return safe


def leak_text(leaking: dict[int, str], extra: Cache, shown: int = 5) -> str:
    """Return what `leaks` found, in words."""
    pairs = [f"{extra.file_names[position]} is {name}" for position, name in leaking.items()]
    rest = f" and {len(pairs) - shown} more" if len(pairs) > shown else ""
    return f"{len(pairs)} extra photos are labelled photos or of the same scene: {', '.join(pairs[:shown])}{rest}"
