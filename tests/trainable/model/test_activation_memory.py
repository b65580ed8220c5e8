"""What is counted without memory is what a real forward pass keeps."""

from dataclasses import replace

import pytest
import torch

from trainable.config import TrialConfig
from trainable.model.activation_checkpointing import PHOTOS
from trainable.model.activation_memory import footprint
from trainable.model.segmenter import build_model, parameter_count

CONFIG = TrialConfig(
    architecture="unet", encoder="tu-test_resnet", image_size=64, decoder={"decoder_channels": [32, 16, 16, 8, 8]}
)


def kept_mb(config: TrialConfig) -> float:
    """Return what a real forward pass of one photo keeps, parameters and buffers left out."""
    network, sizes = build_model(config).network.train(), {}
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    alive = []

    def keep(tensor):
        alive.append(tensor)  # so that no address is used twice
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.randn(PHOTOS, 3, config.image_size, config.image_size))
    kept = sum(size for address, size in sizes.items() if address not in own)
    return (kept + logits.nbytes) / PHOTOS / 1e6


@pytest.mark.parametrize("architecture", ["unet", "unetplusplus", "manet"])
def test_counts_what_a_real_forward_pass_keeps(architecture):
    config = replace(CONFIG, architecture=architecture)
    found = footprint(config)
    assert found.weights_mb == 4 * parameter_count(build_model(config)) / 1e6
    assert found.photo_mb == pytest.approx(kept_mb(config), rel=0.02)


def test_grows_with_the_area():
    small, large = (footprint(replace(CONFIG, image_size=size)) for size in (64, 128))
    assert large.weights_mb == small.weights_mb
    assert large.photo_mb == pytest.approx(4 * small.photo_mb, rel=0.02)


@pytest.mark.parametrize("architecture", ["unet", "unetplusplus"])
def test_activation_checkpointing_keeps_less_and_more_than_its_inputs(architecture):
    found = footprint(replace(CONFIG, architecture=architecture, image_size=128))
    assert 0.1 * found.photo_mb < found.recomputed_mb < 0.6 * found.photo_mb


def test_network_that_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="cannot be built"):
        footprint(replace(CONFIG, decoder={"no_such": 1}))
