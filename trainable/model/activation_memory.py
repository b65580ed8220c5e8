"""What a training keeps in memory, read off its network without training: what peak memory grows with."""

from dataclasses import dataclass

from trainable.config import TrialConfig
from trainable.model.activation_checkpointing import PHOTOS, cheapest, record
from trainable.model.segmenter import build_empty, parameter_count


@dataclass(frozen=True)
class Footprint:
    """Figures of a network at an image size, in fp32."""

    weights_mb: float  # parameters that train
    photo_mb: float  # what the forward pass keeps of one photo for the backward pass
    recomputed_mb: float  # the same with activation checkpointing


def footprint(config: TrialConfig) -> Footprint:
    """Return what the config's network keeps, counted on the meta device: it takes no memory, and half a second.

    Raises:
        ValueError: the network cannot be built, or not take the image size.
    """
    network = build_empty(config).train()
    recording = record(network, config.input_shape)
    least = recording.total - recording.peak(set()) + recording.peak(cheapest(network, recording))
    return Footprint(4 * parameter_count(network) / 1e6, recording.total / PHOTOS / 1e6, least / PHOTOS / 1e6)
