"""The photos of one fold, as its training and its validation see them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainable.cache import Cache
from trainable.folds import Folds
from trainable.losses import ClassCounts


@dataclass(frozen=True)
class FoldData:
    """The photos of one fold: positions in the cache."""

    cache: Cache
    train: NDArray[np.int64]
    val: NDArray[np.int64]

    @classmethod
    def of(cls, cache: Cache, folds: Folds, fold: int) -> "FoldData":
        """Split a cache's photos.

        Raises:
            ValueError: no such fold, or photos that the folds do not know.
        """
        return cls(cache, *folds.split(cache.file_names, fold))

    def counts(self) -> ClassCounts:
        """Return how much of each class the training photos hold."""
        pixels = torch.from_numpy(np.asarray(self.cache.class_pixels)[self.train])
        # Photos of any size train at one size, so each counts alike.
        at_training_size = pixels / pixels.sum(1, keepdim=True) * self.cache.masks[0].size
        return ClassCounts(at_training_size.sum(0), (pixels > 0).sum(0))
