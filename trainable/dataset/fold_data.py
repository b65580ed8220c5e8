"""The photos of one fold, as its training and its validation see them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainable.dataset.cache import Cache
from trainable.dataset.concat import join, safe_positions
from trainable.dataset.folds import Folds
from trainable.model.losses import ClassCounts


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

    def counts(self) -> ClassCounts:
        """Return how much of each class the training photos hold."""
        pixels = torch.from_numpy(np.asarray(self.cache.class_pixels)[self.train])
        photo_pixels = torch.from_numpy(np.asarray(self.cache.photo_pixels)[self.train])
        # Photos of any size train at one size, so each counts alike.
        at_training_size = pixels / photo_pixels[:, None] * self.cache.masks[0].size
        return ClassCounts(at_training_size.sum(0), (pixels > 0).sum(0))
