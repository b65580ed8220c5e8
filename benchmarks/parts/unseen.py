"""Predicts photos that a training has not seen, and scores them as the competition does.

N photos, C classes, S pixels per side.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from trainable.classes import COMPETITION
from trainable.dataset.cache import Cache
from trainable.engine.fold_training import FoldTraining
from trainable.metric.confusion import confusion_matrices
from trainable.run_folder.out_of_fold import quantised, scored_classes

FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""Axes of each view."""


@torch.inference_mode()
def predict(
    training: FoldTraining, cache: Cache, positions: NDArray[np.int64], axes: tuple[int, ...] = ()
) -> NDArray[np.uint8]:
    """Return probabilities times 255, (N, C, S, S), of photos flipped along axes, and flipped back."""
    model, maps = training.stepper.evaluated.eval(), []
    for start in range(0, len(positions), 64):
        photos = torch.from_numpy(cache.images[positions[start : start + 64]])
        turned = photos.flip([axis - 1 for axis in axes]) if axes else photos  # photos are (N, S, S, 3)
        logits = training.stepper.logits(model, turned)
        maps.append(quantised(logits.flip(axes) if axes else logits).cpu().numpy())
    return np.concatenate(maps)


def confusions(maps: NDArray[np.uint8] | torch.Tensor, cache: Cache, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N, C, C) of photos as the competition scores."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes, matrices = cache.photo_sizes[positions], []
    for start in range(0, len(positions), 64):
        some = slice(start, start + 64)
        truth = torch.from_numpy(cache.score_masks[positions[some]]).to(device)
        classes = scored_classes(torch.as_tensor(maps[some]).to(device), sizes[some])
        matrices.append(confusion_matrices(truth, classes, len(COMPETITION)).cpu().numpy())
    return np.concatenate(matrices)
