"""Every space: sampled configs are valid, build, and take a training step."""

import math

import optuna
import pytest
import torch

from spaces.table import SPACES, find_space
from trainable.config import TrialConfig
from trainable.losses import ClassCounts, build_loss
from trainable.optim import build_optimizer

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))


@pytest.fixture(scope="module", params=SPACES)
def space(request):
    return SPACES[request.param]


def sampled(space, count=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(count):
        trial = study.ask()
        yield trial, space.sample(trial)


def test_200_configs_build_and_take_a_step(space):
    torch.manual_seed(0)
    photos, target = torch.randn(2, 3, 8, 8), torch.randint(0, 11, (2, 8, 8))
    for _, parts in sampled(space):
        config = TrialConfig.from_dict(parts)
        network = torch.nn.Conv2d(3, 11, 1)
        before = network.weight.detach().clone()
        optimizer = build_optimizer(config.optimizer, network.parameters())
        loss = build_loss(config.loss, COUNTS)(network(photos), target)
        loss.backward()
        optimizer.step()
        assert math.isfinite(loss.item())
        assert not torch.equal(network.weight, before)


def test_parameters_are_sampled_only_where_they_apply(space):
    for trial, parts in sampled(space):
        values = [value for part in parts.values() for value in part.values()]
        assert all(value in values for value in trial.params.values()), (trial.params, parts)


def test_first_trials_are_points_of_the_space(space):
    study = optuna.create_study()
    for params in space.first_trials:
        study.enqueue_trial(params)
        trial = study.ask()
        space.sample(trial)
        assert trial.params == params


def test_reference_recipe_comes_first():
    names = [params["loss"] for params in SPACES["losses"].first_trials[:2]]
    assert names == ["cross_entropy", "focal"]


def test_unknown_space_lists_the_spaces():
    with pytest.raises(ValueError, match="unknown space 'loses'; the spaces are: losses"):
        find_space("loses")
