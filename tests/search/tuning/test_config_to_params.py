"""A config is said in the terms of a space that may have sampled it, or one that did not."""

import json

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.tuning.config_to_params import express, known
from spaces.encoders import pairs
from spaces.parts import Scope
from spaces.table import JOINT, Space, find_space
from trainable.config import TrialConfig
from trainable.engine.config_defaults import PARTS, spelled_out

SCOPE = Scope(models=tuple(pairs("light")), image_sizes=(96, 64, 128))
BASE = TrialConfig().to_dict()


def drawn(space, seed):
    """Return a config that a space samples at random, as a file has it, and the trial."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return json.loads(json.dumps({**BASE, **space.sample(trial)})), trial


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), hints=st.booleans(), spelled=st.booleans())
def test_what_a_space_has_sampled_is_found_by_the_config_alone(seed, hints, spelled):
    space = find_space(JOINT, SCOPE)
    config, trial = drawn(space, seed)
    found = express(space, config, trial.params if hints else {}, spelled_out(config) if spelled else None)
    assert found.exact
    assert (found.params, found.distributions) == (trial.params, trial.distributions)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_joined_space_says_all_of_a_config_of_its_part(seed):
    part, joined = find_space("losses", SCOPE), find_space("losses+optimizers", SCOPE)
    config, trial = drawn(part, seed)
    found = express(joined, config, trial.params, spelled_out(config))
    assert found.exact and "lr" not in found.params
    assert (found.params["optimizer"], found.params["adamw_lr"]) == ("adamw", trial.params["lr"])
    assert found.params["weight_decay"] == 0.01  # AdamW's own, which the config does not name
    parts = joined.sample(optuna.trial.FixedTrial(found.params))
    assert spelled_out({**BASE, **parts}) == spelled_out(config)
    assert "weight_decay" not in express(joined, config, trial.params).params  # nobody said what the default is


CONFIG = {**BASE, "loss": {"name": "focal", "gamma": 3.0}, "clip_norm": 0.5}


def space_of(sample):
    return Space(sample, ())


@pytest.mark.parametrize(("choices", "said"), [(("focal", "dice"), {"loss": "focal"}), (("dice", "jaccard"), {})])
def test_choices_may_have_changed(choices, said):
    space = space_of(lambda trial: {"loss": {"name": trial.suggest_categorical("loss", choices)}})
    found = express(space, CONFIG, {"loss": "focal"})
    assert found.params == said
    assert not found.exact  # it has no gamma
    assert known(space, {"loss": "focal", "gone": 1}).keys() == said.keys()


@pytest.mark.parametrize(("high", "exact"), [(4.0, True), (2.0, False)])
def test_numbers_out_of_range_are_left_out(high, exact):
    def sample(trial):
        return {"loss": {"name": "focal", "gamma": trial.suggest_float("g", 1.0, high)}}

    found = express(space_of(sample), CONFIG, {"g": 3.0})
    assert (found.params, found.exact) == ({"g": 3.0} if exact else {}, exact)


def test_a_name_that_means_something_else_here_does_not_keep_its_value():
    found = express(space_of(lambda trial: {"clip_norm": trial.suggest_float("g", 0.0, 9.0)}), CONFIG, {"g": 3.0})
    assert (found.params, found.exact, found.decided) == ({"g": 0.5}, True, {"clip_norm"})


def test_values_that_decide_nothing_say_nothing():
    def sample(trial):
        trial.suggest_int("idle", 0, 5)
        return {"clip_norm": trial.suggest_categorical("clip", (0.0, 0.5))}

    assert express(space_of(sample), CONFIG, {}).params == {"clip": 0.5}
    assert express(space_of(sample), CONFIG, {"idle": 2}).params == {"idle": 2, "clip": 0.5}


def test_defaults_are_those_of_the_builders_and_given_values_stay():
    found = spelled_out({**BASE, "optimizer": {"name": "adamw", "lr": 0.5}, "operations": [{"name": "blur"}]})
    assert found["optimizer"] == {"name": "adamw", "lr": 0.5, "weight_decay": 0.01}
    assert set(found["operations"][0]) > {"name"}
    assert set(PARTS) <= set(BASE)
    assert spelled_out({**BASE, "loss": {"name": "unknown"}})["loss"] == {"name": "unknown"}
