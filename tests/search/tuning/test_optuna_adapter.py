"""What of Optuna's private parts we rely on does what we take it for."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from search.tuning.optuna_adapter import allows, live_trial, set_param, set_running


@pytest.fixture
def study():
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def test_a_trial_that_is_asked_again_gives_what_it_gave(study):
    asked = study.ask()
    value = asked.suggest_float("lr", 0, 1)
    again = live_trial(study, study.get_trials(deepcopy=False)[0])
    assert again.number == asked.number and again.suggest_float("lr", 0, 1) == value


def test_a_waiting_trial_runs_and_takes_a_value_that_it_was_not_asked_for(study):
    study.enqueue_trial({"lr": 0.25})
    frozen = study.get_trials(deepcopy=False)[0]
    set_running(study, frozen)
    set_param(study, frozen, "loss", "dice", CategoricalDistribution(("focal", "dice")))
    trial = study.get_trials(deepcopy=False)[0]
    assert trial.state == TrialState.RUNNING and trial.params["loss"] == "dice"
    assert live_trial(study, frozen).suggest_categorical("loss", ("focal", "dice")) == "dice"


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [(FloatDistribution(0, 1), 0.5, True), (FloatDistribution(0, 1), 2.0, False), (IntDistribution(1, 4), 3, True),
     (CategoricalDistribution(("a", "b")), "b", True), (CategoricalDistribution(("a", "b")), "c", False)],
)  # fmt: skip
def test_what_a_distribution_allows(distribution, value, expected):
    assert allows(distribution, value) is expected
