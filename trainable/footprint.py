"""What a training keeps in memory, read off its network without training: what peak memory grows with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.config import TrialConfig
from trainable.models import build_empty, parameter_count

PHOTOS = 2
"""In the forward pass that is counted: batch norms after a global pooling need two."""


@dataclass(frozen=True)
class Footprint:
    """Figures of a network at an image size, in fp32."""

    weights_mb: float  # parameters that train
    photo_mb: float  # what the forward pass keeps of one photo for the backward pass


def footprint(config: TrialConfig) -> Footprint:
    """Return what the config's network keeps, counted on the meta device: it takes no memory, and half a second.

    Raises:
        ValueError: the network cannot be built, or not take the image size.
    """
    network = build_empty(config).train()
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage)
        return tensor

    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.empty(PHOTOS, 3, config.image_size, config.image_size, device="meta"))
    size = sum(storage.nbytes() for key, storage in kept.items() if key not in own) + logits.nbytes
    return Footprint(4 * parameter_count(network) / 1e6, size / PHOTOS / 1e6)
