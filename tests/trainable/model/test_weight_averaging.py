import copy

import pytest
import torch
from torch import nn

from tests.trainable.engine.test_train_step import batch, make
from trainable.model.optim import build_optimizer
from trainable.model.weight_averaging import MovingAverage


class Walk(nn.Module):
    """A weight that is set, not learnt, beside batch-norm statistics."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 1e6))  # far off, as random weights are
        self.norm = nn.BatchNorm1d(2)

    def to_step(self, step):
        with torch.no_grad():
            self.weight.fill_(float(step))
            self.norm.running_mean.fill_(2.0 * step)
            self.norm.num_batches_tracked.fill_(step)


def averaged(decay, steps):
    walk = Walk()
    average = MovingAverage(walk, decay)
    for step in range(1, steps + 1):
        walk.to_step(step)
        average.update(step)
    return average


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.97, 0.99, 0.9999])
@pytest.mark.parametrize("steps", [1, 2, 30, 400])
def test_each_step_counts_by_the_decay_and_the_initial_weights_do_not(decay, steps):
    average = averaged(decay, steps)
    shares = torch.tensor([decay ** (steps - step) for step in range(1, steps + 1)], dtype=torch.float64)
    wanted = float((shares * torch.arange(1, steps + 1)).sum() / shares.sum())
    assert average.module.weight[0].item() == pytest.approx(wanted, rel=1e-4)
    assert average.module.norm.running_mean[0].item() == pytest.approx(2 * wanted, rel=1e-4)
    assert average.module.norm.num_batches_tracked == steps
    assert average.share(steps) == pytest.approx(float(shares[-1] / shares.sum()))


def test_decays_differ_from_the_second_step_on():
    for steps in (2, 3, 10, 40, 190):
        near, far = (averaged(decay, steps).module.weight[0].item() for decay in (0.97, 0.99))
        assert far < near < steps, steps


def with_lookahead(**changes):
    stepper = make(**changes)
    stepper.optimizer = build_optimizer({"name": "lookahead_adamw", "lr": 0.01, "every": 3}, stepper.model)
    return type(stepper)(stepper.config, stepper.model, stepper.loss, stepper.optimizer)


def weights_of(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def test_lookaheads_slow_weights_are_validated_with_the_statistics_of_the_photos_seen():
    stepper = with_lookahead()
    initial = weights_of(stepper.model).clone()
    stepper.freeze_encoder(False)
    stepper.step(*batch())
    assert torch.equal(weights_of(stepper.evaluated), initial)
    assert not torch.equal(weights_of(stepper.model), initial)
    stepper.step(*batch(seed=1))
    stepper.step(*batch(seed=2))
    assert torch.equal(weights_of(stepper.evaluated), weights_of(stepper.model))
    assert not torch.equal(weights_of(stepper.evaluated), initial)
    stepper.step(*batch(seed=3))
    assert not torch.equal(weights_of(stepper.evaluated), weights_of(stepper.model))
    assert not stepper.evaluated.training and stepper.model.training
    for live, kept in zip(stepper.model.buffers(), stepper.evaluated.buffers(), strict=True):
        assert torch.equal(live, kept)
    assert stepper.evaluated.state_dict().keys() == stepper.model.state_dict().keys()


def test_moving_average_is_of_lookaheads_slow_weights():
    stepper = with_lookahead(ema_decay=0.9)
    initial = weights_of(stepper.model).clone()
    stepper.freeze_encoder(False)
    for seed in range(2):
        stepper.step(*batch(seed=seed))
    torch.testing.assert_close(weights_of(stepper.evaluated), initial)  # no slow step yet
    stepper.step(*batch(seed=2))
    slow = weights_of(stepper.slow)
    wanted = (0.81 * initial + 0.9 * initial + slow) / 2.71
    torch.testing.assert_close(weights_of(stepper.evaluated), wanted, rtol=1e-4, atol=1e-6)


def test_averages_and_slow_weights_go_on_from_a_state():
    stepper = with_lookahead(ema_decay=0.9)
    stepper.freeze_encoder(False)
    for seed in range(4):
        stepper.step(*batch(seed=seed))
    other = with_lookahead(ema_decay=0.9)
    other.freeze_encoder(False)
    other.model.load_state_dict(copy.deepcopy(stepper.model.state_dict()))
    other.optimizer.load_state_dict(copy.deepcopy(stepper.optimizer.state_dict()))
    other.load_state(*stepper.state())
    for seed in range(4, 8):
        stepper.step(*batch(seed=seed))
        other.step(*batch(seed=seed))
        assert torch.equal(weights_of(stepper.slow), weights_of(other.slow))
        assert torch.equal(weights_of(stepper.evaluated), weights_of(other.evaluated))
