"""What a search that starts warm knows, and how much of it counts."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

import search.tuning.pruned_values as sampling
from search.preparation.stored_plan import stored_plan
from search.preparation.warm_start import best_first, collect_priors, describe, warm_start
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.compatibility import MEASURED
from search.tuning.curve_extrapolation import EARLIER_TRIALS, chances, forecast_ends
from search.tuning.freeze_thaw import Thawing
from search.tuning.priors import FILE, FIRST, HALF, Prior, Priors, read_priors
from search.tuning.recovery import recover
from search.tuning.study import StudySearch, open_study
from spaces.parts import Scope
from spaces.table import Space, find_space
from trainable.config import TrialConfig
from trainable.engine.config_defaults import spelled_out
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import OOM, STOPPED
from trainable.storage.atomic_write import read_json, write_json
from trainable.storage.record_checks import DamagedError

E = 4
SPACE = find_space("losses", Scope())


def prior(number, end, **more):
    """Return a prior that rises evenly to its end."""
    params = {"loss": "focal", "focal_gamma": 1.0 + number / 100, "lr": 1e-3}
    curve = [end * (epoch + 1) / E for epoch in range(E)]
    return Prior(
        **{
            "run": "a",
            "number": number,
            "params": params,
            "exact": True,
            "curve": curve,
            "epochs": E,
            "end": end,
            "same": True,
            **more,
        }
    )


def held(*priors):
    return Priors(priors, best_first(priors), E)


def test_the_best_of_each_run_go_first_and_none_comes_twice():
    priors = [
        prior(0, 0.3),
        prior(1, 0.5),
        prior(2, 0.4),
        prior(3, 0.9, exact=False),
        prior(1, 0.5, run="c"),
        prior(5, 0.2, run="b"),
        prior(6, 0.1, run="b"),
    ]
    assert best_first(priors) == [1, 5, 2]
    assert best_first([prior(0, 0.1, exact=False)]) == []
    assert best_first([prior(0, 0.1), prior(0.01, 0.2), prior(1, 0.3)]) == [2, 1]  # all but the same
    assert len(best_first([prior(number, 0.1) for number in range(9)])) == FIRST


def test_first_trials_that_an_earlier_search_had_are_not_run_again():
    reference, other = SPACE.first_trials[:2]
    found = held(prior(0, 0.1, params=dict(reference)), prior(1, 0.2)).space(SPACE)
    assert found.first_trials[:2] == (prior(1, 0.2).params, reference)  # as the second best of the earlier search
    assert found.first_trials[2:] == tuple(each for each in SPACE.first_trials if each != reference)
    assert other in found.first_trials
    assert found.sample is SPACE.sample


@settings(deadline=None)
@given(count=st.integers(1, 90), asked=st.integers(0, 400), same=st.booleans())
def test_fewer_are_seen_the_more_trials_a_search_has_of_its_own(count, asked, same):
    priors = held(*(prior(number, 0.1 + number / 1000, same=same) for number in range(count)))
    seen = priors.trials(SPACE, asked, {})
    assert len(seen) == int(np.ceil(count * HALF[same] / (HALF[same] + asked)))
    assert {each.state for each in seen} == {TrialState.COMPLETE}
    assert len({each.number for each in seen}) == len(seen) and all(each.number < 0 for each in seen)
    assert max(each.value for each in seen) == max(priors.values({}))  # the best is among them
    assert all(each.params.keys() == {"loss", "focal_gamma", "lr"} for each in seen)


def test_what_a_space_does_not_know_is_not_shown_to_the_sampler():
    priors = held(prior(0, 0.1, params={"loss": "focal", "focal_gamma": 99.0, "gone": 1}))
    (seen,) = priors.trials(SPACE, 0, {})
    assert seen.params == {"loss": "focal"}


@settings(deadline=None)
@given(factor=st.floats(0.1, 5), epochs=st.integers(1, 12), budget=st.integers(1, 12), done=st.floats(0.01, 1))
def test_other_data_or_budgets_count_by_the_ratio_of_the_configs_that_both_have(factor, epochs, budget, done):
    """The ratio is of the same share of both budgets, so it is the same after each epoch where curves are alike."""
    ends = [0.5, 0.3, 0.1]
    curve = [[end * (epoch + 1) / budget for epoch in range(budget)] for end in ends]
    priors = [prior(number, end, same=False, curve=curve[number], epochs=budget) for number, end in enumerate(ends)]
    search = Priors(priors, [0], epochs)
    own = {
        0: [
            factor * max(curve[0][: max(round((epoch + 1) / epochs * budget), 1)])
            for epoch in range(max(int(done * epochs), 1))
        ]
    }
    assert search.values(own) == pytest.approx([factor * end for end in ends])
    assert len(search.curves(own)) == (3 if epochs == budget else 0)


def test_until_a_search_has_values_of_its_own_runs_compare_by_rank():
    ends = (0.1, 0.2, 0.3)
    priors = [prior(number, end, same=False) for number, end in enumerate(ends)]
    priors += [prior(number, 10 * end, same=False, run="b") for number, end in enumerate(ends, 10)]
    search = held(*priors)
    values = search.values({})
    assert values[:3] == pytest.approx(values[3:]) and values == sorted(values[:3]) * 2
    assert len(search.curves({})) == 0  # not on this search's scale yet
    own = {search.first.index(2): [0.15]}  # twice the best of the first run, after one epoch
    assert search.values(own) == pytest.approx([0.2, 0.4, 0.6] * 2)
    assert len(search.curves(own)) == 3


def test_the_same_data_in_the_same_way_count_as_they_are():
    search = held(prior(0, 0.2), prior(1, 0.4))
    assert search.values({0: [0.9]}) == [0.2, 0.4]
    assert search.curves({}).tolist() == [prior(0, 0.2).curve, prior(1, 0.4).curve]
    assert held(prior(0, 0.2, curve=[0.1, 0.2])).curves({}).shape == (0, E)  # it was stopped


def test_forecasts_learn_from_earlier_curves_and_forget_them():
    """Here late risers win, which the forecasts' own prior does not know."""
    early, late = np.array([0.3, 0.3, 0.3, 0.3]), np.array([0.1, 0.2, 0.4, 0.8])
    curves, epochs = np.full((2, E), np.nan), np.array([1, 1])
    curves[:, 0] = early[0], late[0]
    alone, told = forecast_ends(curves, epochs), forecast_ends(curves, epochs, np.array([early, late] * 5))
    assert alone.mean[0] > alone.mean[1]
    assert told.mean[0] < told.mean[1]
    assert forecast_ends(curves, epochs, np.empty((0, E))).mean == pytest.approx(alone.mean)
    assert chances(curves, epochs, np.array([early, late] * 5))[1] > chances(curves, epochs)[1]
    # Many weigh no more than some.
    many, some = (forecast_ends(curves, epochs, np.array([early, late] * count)).mean for count in (500, 5))
    assert many == pytest.approx(some)
    assert EARLIER_TRIALS < 10


def test_a_search_need_not_pass_what_earlier_ones_reached():
    curves, epochs = np.array([[0.1, np.nan, np.nan, np.nan], [0.05, np.nan, np.nan, np.nan]]), np.array([1, 1])
    found = chances(curves, epochs, np.full((5, E), 0.9) * np.linspace(0.9, 1, E))
    assert found[0] > 0.4


def test_whole_trials_of_earlier_searches_show_whether_forecasts_hold(tmp_path):
    rising = held(*(prior(number, 0.1 + number / 10) for number in range(5)))
    crossing = held(*(prior(number, 2.0 + number, curve=[1 - 0.1 * number, 0, 0, 2 + number]) for number in range(5)))
    for priors, whole in ((rising, False), (crossing, True), (None, True)):
        thawing = Thawing(RunFolder(tmp_path), E, 50, priors)
        thawing.load()
        for number, first in ((9, 0.01), (10, 0.5), (11, 0.6)):
            thawing.begin(number)
            thawing.observe(number, 1, first)
        assert thawing.goes_on(9, 1) == whole


@pytest.fixture
def begun(tmp_path):
    """A new search that starts warm from 16 trials."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    priors = held(*(prior(number, 0.1 + number / 100) for number in range(16)))
    write_json(run.path / FILE, priors.record())
    return run


def test_priors_come_back_as_they_were(begun):
    found = read_priors(begun, E)
    assert found.record() == read_json(begun.path / FILE)
    assert read_priors(RunFolder(begun.path / "none"), E) is None
    for content in (b"{", b"{}", b'{"first": [3], "priors": []}', b'{"first": [], "priors": [{"run": 1}]}'):
        (begun.path / FILE).write_bytes(content)
        with pytest.raises(DamagedError, match=r"priors.json is damaged"):
            read_priors(begun, E)


def searcher(run):
    priors = read_priors(run, E)
    space = priors.space(SPACE)
    thawing = Thawing(run, E, 20, priors)
    thawing.load()
    return StudySearch(run, open_study(run, space), space, TrialConfig(epochs=E), 20, thawing, priors=priors)


def test_a_search_begins_with_the_best_and_draws_from_the_priors_at_once(begun, monkeypatch):
    drawn = []

    class Looks(optuna.samplers.TPESampler):
        def sample_relative(self, study, trial, space):
            drawn.append(super().sample_relative(study, trial, space))
            return drawn[-1]

    monkeypatch.setattr(sampling, "TPESampler", Looks)

    def handed(search, count):
        return [search.suggest(f"{search} {turn}") for turn in range(count)]

    first = handed(searcher(begun), FIRST)
    assert [each["config"]["loss"]["gamma"] for each in first] == pytest.approx([1.15, 1.14, 1.13])
    own = len(SPACE.first_trials)
    straight = searcher(begun)
    drawn.clear()
    handed(straight, FIRST + own + 3)
    assert len(straight.study.get_trials()) == FIRST + own + 3  # no trial of an earlier search is in the study
    assert all({"loss", "lr"} <= params.keys() for params in drawn[-3:])  # by TPE: none of them is random


@pytest.mark.parametrize("same", [True, False])
def test_drawing_does_not_depend_on_interruptions(tmp_path, begun, same):
    priors = read_priors(begun, E)
    priors.priors = [replace(each, same=same) for each in priors.priors]
    write_json(begun.path / FILE, priors.record())
    shutil.copytree(begun.path, tmp_path / "other" / "run")
    found = []
    for run, cuts in ((begun, ()), (RunFolder(tmp_path / "other" / "run"), (2, 9, 10))):
        search, configs = searcher(run), []
        for turn in range(12):
            if turn in cuts:
                search = searcher(run)
            sampled = search.suggest(str(turn))
            folder = run.trial(sampled["number"])
            folder.write_curve([{"epoch": 1, "val_miou": 0.1 + turn / 100}])
            folder.write_status(STOPPED, epochs=1)
            search.thawing.observe(folder.number, 1, 0.1 + turn / 100)
            search.study.tell(folder.number, state=TrialState.PRUNED)
            configs.append(sampled["config"])
        found.append(configs)
    assert found[0] == found[1]


def test_runs_of_before_and_studies_know_nothing_of_it(tmp_path):
    run = RunFolder(tmp_path)
    study = open_study(run, SPACE)
    recover(run, study, SPACE)
    assert len(study.get_trials()) == len(SPACE.first_trials)


def prepared_as(run):
    search = run.search()
    return SimpleNamespace(
        dataset=SimpleNamespace(json_hash=search["data_hash"]),
        extra=None,
        folds=SimpleNamespace(hash=search["folds_hash"]),
    )


def plan_like(run, **changes):
    """Return the plan of a search like an earlier one, but for some options."""
    base = run.search()["plan"]["base"]
    names = ("epochs", "image_size", "batch_size", "architecture", "encoder", "encoder_weights", "fold")
    plan = new_plan(Settings(**({name: base[name] for name in names} | changes)), Machine(cores=2, gpus=0))
    plain = {"classes": plan.classes, "frames": plan.frames}
    return SimpleNamespace(
        **{
            **vars(plan),
            "base": {**plan.base, "decoder": base["decoder"]},
            "scope": plan.scope,
            "config": plan.config,
            **plain,
        }
    )


def spell(configs):
    return [spelled_out(each) for each in configs]


def test_trials_of_a_real_run_are_taken_with_curves_and_ends(searched):
    searched.trial(1).write_status(OOM, "too large")
    plan = plan_like(searched)
    priors, told = warm_start([searched], plan, prepared_as(searched), spell)
    assert [each.number for each in priors.priors] == [0, 2, 3]
    for each in priors.priors:
        folder = searched.trial(each.number)
        assert each.curve == [row["val_miou"] for row in folder.curve()]
        assert each.same
        assert each.params["lr"] == folder.params()["lr"] if folder.params()["lr"] >= 1e-4 else "lr" not in each.params
    whole = [each for each in priors.priors if each.whole]
    assert [each.number for each in whole] == [0, 2] and all(each.end == max(each.curve) for each in whole)
    assert priors.priors[2].end != max(priors.priors[2].curve)  # forecast
    assert told[0] == (
        "warm start from small: 3 of 5 trials for the sampler (2 with all their values), 2 whole curves "
        "for forecasts; values as they are"
    )
    assert told[1].startswith("tried first: trials ")


@pytest.mark.parametrize(("changes", "whole"), [({"image_size": 64}, 2), ({"epochs": 7}, 0), ({"fold": 1}, 2)])
def test_what_differs_is_told_and_counts_by_ratio(searched, changes, whole):
    plan = plan_like(searched, **changes)
    priors, told = warm_start([searched], plan, prepared_as(searched), spell)
    assert not any(each.same for each in priors.priors)
    assert "by the ratio to those of the configs tried first" in told[0]
    assert ("no curves, their budget is 3 epochs" in told[0]) == ("epochs" in changes)
    other = prepared_as(searched)
    other.dataset.json_hash = "other"
    found = collect_priors(searched, plan_like(searched), SPACE, {"data_hash": "other"}, spell)
    assert not any(each.same for each in found)
    assert "values by the ratio" in describe(searched, found, plan_like(searched))


def test_what_cannot_serve_is_refused(searched):
    prepared = prepared_as(searched)
    empty = Space(lambda trial: {"clip_norm": trial.suggest_float("clip", 7.0, 8.0)}, ())
    assert collect_priors(searched, plan_like(searched), empty, {}, spell) == []
    for folder in searched.trials():
        folder.write_status(OOM)
    with pytest.raises(ValueError, match="run small has no trial that ended an epoch and has a value of the space"):
        warm_start([searched], plan_like(searched), prepared, spell)
    write_json(searched.path / "search.json", {**searched.search(), **MEASURED, "direction": "minimize"})
    with pytest.raises(ValueError, match="run small is to minimize"):
        warm_start([searched], plan_like(searched), prepared, spell)
    with pytest.raises(ValueError, match="run small is to minimize"):
        stored_plan(searched)
