import copy

import pytest
import timm.optim
import torch
from torch import nn

from trainable.engine.checkpoint import load_optimizer, load_tensors, optimizer_state, save_tensors
from trainable.model.optim import OPTIMIZERS, adamw, build_optimizer, parameter_groups
from trainable.run_folder.folders import TrialFolder

LARGE = {"sgd": 0.05, "lamb": 0.1, "lookahead_radam": 0.03}


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


def test_lamb_does_not_clip_the_gradient():
    model = net()
    optimizer = build_optimizer({"name": "lamb"}, model)
    loss = 1e3 * loss_of(model, torch.randn(4, 3, 6, 6))
    loss.backward()
    weight = model["head"].weight
    assert weight.grad.norm() > 10
    optimizer.step()
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], 0.1 * weight.grad)


@pytest.mark.parametrize("name", ["lookahead_adamw", "lookahead_radam"])
def test_lookahead_goes_from_the_initial_weights_part_of_the_way(name):
    choice, plain = {"name": name, "lr": 0.01, "alpha": 0.3, "every": 4}, {"name": name[10:], "lr": 0.01}
    model, fast, initial = net(), net(), list(net().parameters())
    optimizer = build_optimizer(choice, model)
    steps(model, optimizer, 3)
    assert all(map(torch.equal, [slow for _, slow in optimizer.pairs()], in_order(optimizer, model, initial)))
    model = net()
    optimizer = build_optimizer(choice, model)
    steps(model, optimizer, 4)
    steps(fast, build_optimizer(plain, fast), 4)
    for begun, led, reached in zip(initial, fast.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(reached, begun + 0.3 * (led - begun))
    assert not torch.equal(model["head"].weight, fast["head"].weight)
    assert all(torch.equal(parameter, slow) for parameter, slow in optimizer.pairs())


def in_order(optimizer, model, values):
    """Return values by parameter of a model in the order of an optimizer's groups."""
    by_parameter = dict(zip(map(id, model.parameters()), values, strict=True))
    return [by_parameter[id(fast)] for fast, _ in optimizer.pairs()]


@pytest.mark.parametrize("count", [4, 7])  # before and after the first time that timm's has slow weights
def test_state_of_timms_lookahead_is_gone_on_with(count):
    model = net()
    before = timm.optim.Lookahead(adamw(parameter_groups(model)), 0.5, 6)
    steps(model, before, count)
    resumed = build_optimizer({"name": "lookahead_adamw", "lr": 0.001}, model)
    load_optimizer(resumed, *optimizer_state(before))
    slow = [before._base_optimizer.state[fast].get("lookahead_slow_buff", fast) for fast, _ in resumed.pairs()]
    assert all(map(torch.equal, slow, [each for _, each in resumed.pairs()]))
    assert {group["lookahead_step"] for group in resumed.param_groups} == {count}
    steps(model, resumed, 12)


def test_hyperparameters_of_an_earlier_state_do_not_come_back():
    model = net()
    before = build_optimizer({"name": "lamb", "lr": 0.01}, model)
    for group in before.param_groups:
        group["max_grad_norm"], group["eps"] = 1.0, 0.5
    steps(model, before, 2)
    resumed = build_optimizer({"name": "lamb", "lr": 0.01}, model)
    load_optimizer(resumed, *optimizer_state(before))
    assert {(group["max_grad_norm"], group["eps"], group["step"].item()) for group in resumed.param_groups} == {
        (None, 1e-6, 2.0)
    }


@pytest.mark.parametrize("change", [{"alpha": 0.0}, {"alpha": 1.1}, {"every": 0}])
def test_lookahead_out_of_range_is_told(change):
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1 and every at least 1 step, found"):
        build_optimizer({"name": "lookahead_adamw", **change}, net())


def test_unknown_optimizer_and_parameter_are_told():
    with pytest.raises(ValueError, match="unknown optimizer 'adamm'; did you mean 'adam'"):
        build_optimizer({"name": "adamm"}, net())
    with pytest.raises(ValueError, match="'adam' has no parameter 'momentum'; it has lr, weight_decay"):
        build_optimizer({"name": "adam", "momentum": 0.9}, net())
