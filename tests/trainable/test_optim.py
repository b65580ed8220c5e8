import copy

import pytest
import torch
from torch import nn

from trainable.artifacts import TrialFolder
from trainable.checkpoint import load_optimizer, load_tensors, optimizer_state, save_tensors
from trainable.optim import OPTIMIZERS, build_optimizer

LARGE = {"sgd": 0.05, "lamb": 0.1}


def net(seed=0):
    torch.manual_seed(seed)
    return nn.ModuleDict({"encoder": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "head": nn.Conv2d(4, 2, 1)})


def loss_of(model, photos):
    return (model["head"](model["encoder"](photos)) - 1).square().mean()


def steps(model, optimizer, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(count):
        loss = loss_of(model, torch.randn(4, 3, 6, 6, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_goes_downhill_at_the_asked_rate(name):
    model, lr = net(), LARGE.get(name, 0.02)
    optimizer = build_optimizer({"name": name, "lr": lr}, model)
    assert {group["lr"] for group in optimizer.param_groups} == {lr}
    losses = steps(model, optimizer, 60)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_spares_norms_and_biases_and_the_encoder_has_its_own_rate(name):
    model = net()
    optimizer = build_optimizer({"name": name, "lr": 0.01, "weight_decay": 0.1}, model, encoder_lr_factor=0.1)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    conv, norm = model["encoder"]
    assert found[id(model["head"].weight)] == (0.01, 0.1)
    assert found[id(model["head"].bias)] == (0.01, 0.0)
    assert found[id(conv.weight)] == (pytest.approx(0.001), 0.1)
    assert found[id(norm.weight)] == found[id(norm.bias)] == found[id(conv.bias)] == (pytest.approx(0.001), 0.0)
    assert len(found) == len(list(model.parameters()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saved_state_goes_on_to_the_bit(name, tmp_path):
    """Seven steps, so that Lookahead's every sixth falls before the cut and its next after it."""
    model = net()
    optimizer = build_optimizer({"name": name, "lr": 0.01}, model)
    steps(model, optimizer, 7)
    other = copy.deepcopy(model)
    tensors, header = optimizer_state(optimizer)
    save_tensors(TrialFolder(tmp_path).last_state, tensors, optimizer=header)
    tensors, header = load_tensors(TrialFolder(tmp_path).last_state)
    resumed = build_optimizer({"name": name, "lr": 0.01}, other)
    load_optimizer(resumed, tensors, header["optimizer"])
    assert steps(model, optimizer, 8, seed=1) == steps(other, resumed, 8, seed=1)


def test_unknown_optimizer_and_parameter_are_told():
    with pytest.raises(ValueError, match="unknown optimizer 'adamm'; did you mean 'adam'"):
        build_optimizer({"name": "adamm"}, net())
    with pytest.raises(ValueError, match="'adam' has no parameter 'momentum'; it has lr, weight_decay"):
        build_optimizer({"name": "adam", "momentum": 0.9}, net())
