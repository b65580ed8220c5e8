"""How much of each class a fold's training photos hold, which losses weigh classes by."""

import numpy as np
import torch

from trainable.dataset.fold_data import FoldData
from trainable.model.losses import ClassCounts


def class_counts(data: FoldData) -> ClassCounts:
    """Return the pixels and the photos of each class, (C,) each, over the training photos."""
    pixels = torch.from_numpy(np.asarray(data.cache.class_pixels)[data.train])
    photo_pixels = torch.from_numpy(np.asarray(data.cache.photo_pixels)[data.train])
    # Photos of any size train at one size, so each counts alike.
    at_training_size = pixels / photo_pixels[:, None] * data.cache.masks[0].size
    return ClassCounts(at_training_size.sum(0), (pixels > 0).sum(0))
