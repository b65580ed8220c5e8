"""The photos of one fold, as training and validation see them; the driver of a search reads it without PyTorch."""

from dataclasses import dataclass, fields
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.classes import Classes
from trainable.dataset.cache import Cache
from trainable.dataset.concat import Rows, join, safe_positions
from trainable.dataset.folds import Folds
from trainable.geometry import Geometry


@dataclass(frozen=True)
class FoldData:
    """The photos of one fold: positions in the cache, the last of them perhaps photos that train in every fold."""

    cache: Cache
    train: NDArray[np.int64]
    val: NDArray[np.int64]

    @classmethod
    def of(
        cls, cache: Cache, folds: Folds, fold: int, extra: Cache | None = None, skip_bad: bool = False
    ) -> "FoldData":
        """Split a cache's photos.

        Args:
            cache: of the labelled photos.
            folds: the fold of each of them.
            fold: the one that validates.
            extra: further photos, which train in every fold.
            skip_bad: leave out further photos that are labelled ones, or of their scenes, rather than raise.

        Raises:
            ValueError: no such fold, photos that the folds do not know, or further photos that are labelled ones.
        """
        train, val = folds.split(cache.file_names, fold)
        if extra is None:
            return cls(cache, train, val)
        further = len(cache.file_names) + safe_positions(cache, extra, skip_bad)
        return cls(join(cache, extra), np.concatenate([train, further]), val)

    def described(self, folder: Path) -> dict[str, Any]:
        """Return what json can hold, for another process of this node: of mapped arrays, the files they are in.

        Args:
            folder: keeps the arrays that are in memory.
        """
        cache = {each.name: _described(getattr(self.cache, each.name), folder / each.name) for each in fields(Cache)}
        train, val = _described(self.train, folder / "train"), _described(self.val, folder / "val")
        return {"cache": cache, "train": train, "val": val}

    @classmethod
    def from_described(cls, content: dict[str, Any]) -> "FoldData":
        """Open the arrays that `described` has described."""
        cache = {
            name: _opened(value) for name, value in content["cache"].items() if name not in ("classes", "geometry")
        }
        cache |= {
            "path": Path(cache["path"]),
            "file_names": tuple(cache["file_names"]),
            "classes": Classes.from_dict(content["cache"]["classes"]),
            "geometry": Geometry.from_dict(content["cache"]["geometry"]),
        }
        return cls(Cache(**cache), _opened(content["train"]), _opened(content["val"]))


def _described(value: Any, path: Path) -> Any:
    if isinstance(value, Rows):
        parts = {"first": value.first, "second": value.second}
        return {"rows": [_described(part, path.with_name(f"{path.name}-{name}")) for name, part in parts.items()]}
    if isinstance(value, np.memmap) and isinstance(value.base, mmap):  # all of it: a part keeps the whole's offset
        layout = {"dtype": value.dtype.str, "offset": value.offset, "shape": value.shape}
        return {"mapped": {"filename": str(value.filename), **layout}}
    if isinstance(value, np.ndarray):
        file = path.with_suffix(".npy")
        np.save(file, value)
        return {"saved": str(file)}
    if isinstance(value, Classes | Geometry):
        return value.to_dict()
    return str(value) if isinstance(value, Path) else value


def _opened(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "rows" in value:
        return Rows(*map(_opened, value["rows"]))
    if "mapped" in value:
        return np.memmap(**{**value["mapped"], "shape": tuple(value["mapped"]["shape"])}, mode="r")
    return np.load(value["saved"], mmap_mode="r")
