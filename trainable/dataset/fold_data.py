"""The photos of one fold, as training and validation see them; the driver of a search reads it without PyTorch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.dataset.cache import Cache
from trainable.dataset.concat import join, safe_positions
from trainable.dataset.folds import Folds


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
