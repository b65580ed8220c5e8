"""A step with activation checkpointing is the plain step, to the bit: gradient, batch-norm statistics, random state."""

import copy

import pytest
import torch

from spaces.encoders import ARCHITECTURES
from trainable.config import TrialConfig
from trainable.models import build_empty, build_model
from trainable.recompute import compute_twice, planned

FAST = {
    "unetplusplus": "efficientnet-b0", "deeplabv3plus": "mobilenet_v2", "unet": "mit_b0", "fpn": "resnet18",
    "pan": "tu-tf_efficientnet_lite0", "manet": "tu-convnext_atto", "linknet": "tu-test_resnet", "pspnet": "mit_b0",
    "upernet": "tu-mobilenetv3_large_100", "segformer": "tu-convnext_atto", "dpt": "tu-test_resnet",
}  # fmt: skip
ENCODERS = (
    "resnet18", "efficientnet-b0", "mobilenet_v2", "mit_b0", "tu-tf_efficientnet_lite0", "tu-mobilenetv3_large_100",
    "tu-convnext_atto", "tu-hrnet_w18_small_v2", "tu-swin_tiny_patch4_window7_224", "densenet121", "xception",
    "vgg11_bn", "timm-resnest14d", "inceptionv4",
)  # fmt: skip


def config_of(architecture, encoder, side=64):
    return TrialConfig(architecture=architecture, encoder=encoder, image_size=side, precision="fp32", device="cpu")


def passes(model, photos, slope):
    """Return what a forward and a backward pass leave behind."""
    torch.manual_seed(3)
    model.zero_grad(set_to_none=True)
    logits = model(photos)
    logits.backward(slope)
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {"logits": logits.detach()}, gradients, dict(model.named_buffers()), {"random": torch.get_rng_state()}


def assert_the_same(config):
    names = planned(config)
    torch.manual_seed(0)
    plain = build_model(config).train()
    twice = copy.deepcopy(plain)
    compute_twice(twice.network, names)
    photos = torch.randint(0, 256, (2, config.image_size, config.image_size, 3), dtype=torch.uint8)
    slope = torch.randn(2, 11, config.image_size, config.image_size)
    kept = [kept_bytes(model, photos) for model in (plain, twice)]
    for first, second in zip(passes(plain, photos, slope), passes(twice, photos, slope), strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(each, second[name]) for name, each in first.items())
    assert names and kept[1] < 0.8 * kept[0]


def kept_bytes(model, photos):
    """Return what is kept at the end of a forward pass, beside the inputs of what is computed twice."""
    sizes, own = {}, {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    before = {name: each.clone() for name, each in model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(photos)
    model.load_state_dict(before, strict=False)
    return sum(size for address, size in sizes.items() if address not in own)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_is_the_plain_step(architecture):
    assert_the_same(config_of(architecture, FAST[architecture]))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_is_the_plain_step_on_every_kind_of_encoder(architecture, encoder):
    config = config_of(architecture, encoder, 224 if "swin" in encoder else 64)
    try:
        build_empty(config)
    except ValueError as error:
        pytest.skip(str(error).splitlines()[0])
    assert_the_same(config)
