"""A step with activation checkpointing is the plain step, to the bit: gradient, batch-norm statistics, random state."""

import copy

import pytest
import torch
from torch import nn

from spaces.encoders import ARCHITECTURES
from trainable.config import TrialConfig
from trainable.model.activation_checkpointing import (
    buffers_kept,
    cheapest,
    compute_once,
    compute_twice,
    planned,
    record,
)
from trainable.model.segmenter import build_model

FAST = {
    "unetplusplus": "efficientnet-b0", "deeplabv3plus": "mobilenet_v2", "unet": "mit_b0", "fpn": "resnet18",
    "pan": "tu-tf_efficientnet_lite0", "manet": "tu-convnext_atto", "linknet": "tu-test_resnet", "pspnet": "mit_b0",
    "upernet": "tu-mobilenetv3_large_100", "segformer": "tu-convnext_atto", "dpt": "tu-test_resnet",
}  # fmt: skip
ENCODERS = (
    "resnet18", "efficientnet-b0", "mobilenet_v2", "mit_b0", "tu-tf_efficientnet_lite0", "tu-mobilenetv3_large_100",
    "tu-convnext_atto", "tu-hrnet_w18_small_v2", "tu-swin_tiny_patch4_window7_224", "densenet121", "xception",
    "vgg11_bn", "tu-resnest14d", "inceptionv4",
)  # fmt: skip


def config_of(architecture, encoder):
    side = 224 if "swin" in encoder else 128 if architecture == "pan" else 64  # the smallest it takes
    return TrialConfig(architecture=architecture, encoder=encoder, image_size=side, precision="fp32", device="cpu")


def passes(model, photos, slope):
    """Return what a forward and a backward pass leave behind, and the bytes kept between them."""
    sizes, own = {}, {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(photos)
    logits.backward(slope)
    kept = sum(size for address, size in sizes.items() if address not in own)
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    left = {"logits": logits.detach()}, gradients, dict(model.named_buffers()), {"random": torch.get_rng_state()}
    return kept, left


def assert_the_same(config):
    names = planned(config)
    torch.manual_seed(0)
    plain = build_model(config).train()
    twice = copy.deepcopy(plain)
    compute_twice(twice.network, names)
    photos = torch.randint(0, 256, (2, config.image_size, config.image_size, 3), dtype=torch.uint8)
    slope = torch.randn(2, 11, config.image_size, config.image_size)
    (plain_bytes, plain_left), (bytes_, left) = (passes(model, photos, slope) for model in (plain, twice))
    for first, second in zip(plain_left, left, strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(each, second[name]) for name, each in first.items())
    assert names and bytes_ < 0.8 * plain_bytes


class Block(nn.Module):
    """Keeps two activations beside its input; `first` may change that."""

    def __init__(self, inplace=False):
        super().__init__()
        self.first = nn.ReLU(inplace=inplace)
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.5)

    def forward(self, photos):
        return self.drop(self.norm(self.first(photos)).sigmoid().sigmoid())


def blocks(inplace=False, count=6):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *(Block(inplace) for _ in range(count)))


def test_takes_the_blocks_and_leaves_their_parts():
    network = blocks().to("meta")
    recording = record(network, (32, 32))
    assert cheapest(network, recording) == {f"{number}" for number in range(1, 7)}
    six, two, none = (recording.peak(names) for names in (cheapest(network, recording), {"1", "2"}, set()))
    assert six < two < none == recording.total - OUTPUT


OUTPUT = 4 * 2 * 8 * 32 * 32
"""Bytes of the logits of `blocks`."""


def test_leaves_modules_whose_input_is_changed_in_place():
    network = blocks(inplace=True).to("meta")
    assert {"2", "3", "2.first"} <= record(network, (32, 32)).unfit
    assert not cheapest(network, record(network, (32, 32))) & {"2", "3", "2.first"}


def test_leaves_modules_that_hooks_look_into():
    network = blocks().to("meta")
    network.get_submodule("2.norm").register_forward_hook(lambda *_: None)
    found = record(network, (32, 32))
    assert found.unfit == {"2"}
    assert {"1", "3", "4", "5", "6"} <= cheapest(network, found)


def test_what_saves_little_is_not_worth_a_second_forward_pass():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sigmoid()).to("meta")
    assert cheapest(network, record(network, (32, 32))) == set()


class Dense(nn.Module):
    """Gives each layer all features before it, as DenseNet does, in a list that grows."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Joined(8 * (number + 1)) for number in range(3))

    def forward(self, photos):
        features = [photos]
        for layer in self.layers:
            features.append(layer(features))
        return features[-1]


class Joined(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, 8, 1)

    def forward(self, features):
        return self.conv(self.norm(torch.cat(features, 1)).sigmoid())


def test_lists_that_grow_after_the_call_are_taken_as_they_were():
    torch.manual_seed(0)
    plain = Dense().train()
    twice = copy.deepcopy(plain)
    compute_twice(twice, [f"layers.{number}" for number in range(3)])
    photos = torch.randn(2, 8, 8, 8)
    for network in (plain, twice):
        network(photos).square().sum().backward()
    pairs = zip(plain.parameters(), twice.parameters(), strict=True)
    assert all(torch.equal(first.grad, second.grad) for first, second in pairs)


class Filling(nn.Module):
    """Writes into the list that it is given, as HRNet's modules do."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, features):
        features[0] = self.block(features[0])
        return [each.sigmoid() for each in features]


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.filling = nn.Conv2d(3, 8, 1), Filling()

    def forward(self, photos):
        return self.filling([self.conv(photos)])[0]


def test_leaves_modules_that_write_into_the_list_they_are_given():
    assert record(Branches().to("meta"), (32, 32)).unfit == {"filling"}


def test_can_be_ended():
    network = blocks(count=1)
    before = network[1].forward
    compute_twice(network, ["1"])
    assert network[1].forward != before
    compute_once(network, ["1"])
    assert network[1].forward == before


def test_forward_passes_leave_kept_buffers_alone():
    network = blocks(count=1).train()
    norm = network[1].norm
    before = {name: (each, each.clone()) for name, each in norm.named_buffers()}
    with buffers_kept(network):
        network(torch.randn(2, 3, 8, 8))
        assert norm.num_batches_tracked == 1
    assert all(each is before[name][0] and torch.equal(each, before[name][1]) for name, each in norm.named_buffers())
    network(torch.randn(2, 3, 8, 8))
    assert norm.num_batches_tracked == 1 and not torch.equal(norm.running_mean, torch.zeros(8))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_is_the_plain_step(architecture):
    assert_the_same(config_of(architecture, FAST[architecture]))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_is_the_plain_step_on_every_kind_of_encoder(encoder):
    assert_the_same(config_of("unet", encoder))
