"""From a trial's best weights to class maps."""

import torch
from numpy.typing import NDArray

from trainable.artifacts import TrialFolder
from trainable.checkpoint import load_tensors
from trainable.config import TrialConfig
from trainable.models import Segmenter, build_model


def load_model(folder: TrialFolder) -> Segmenter:
    """Return the trial's network with the weights of its best epoch, in evaluation mode.

    Raises:
        ValueError: the weights are damaged.
        FileNotFoundError: the trial has none.
    """
    if not folder.best_weights.exists():
        raise FileNotFoundError(f"trial {folder.number} has no weights ({folder.best_weights}): no epoch ended")
    model = build_model(TrialConfig.from_dict(folder.config()), load_encoder=False)
    model.load_state_dict(load_tensors(folder.best_weights)[0])
    return model.eval()


@torch.inference_mode()
def predict_classes(model: Segmenter, photos: NDArray) -> NDArray:
    """Return the class of each pixel, (N, S, S) uint8, of uint8 RGB photos (N, S, S, 3)."""
    return model(torch.from_numpy(photos)).max(1).indices.to(torch.uint8).numpy()
