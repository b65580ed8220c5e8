"""A search that is extended goes on where it was, and runs nothing again."""

import shutil
import zlib
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

import search.tuning.pruned_values as sampling
from search.callbacks.trial_states import mark_interrupted
from search.preparation.extend import extend, extended_at, extended_plan, settle
from search.preparation.stored_plan import stored_plan
from search.run_state.past_usage import Held, Usage
from search.settings.allocation import Machine
from search.settings.arguments import parse
from search.settings.plan import ASHA, FORECAST, NO_STOPPING
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.compatibility import MEASURED
from search.tuning.config_to_params import express
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from search.tuning.study import StudySearch, open_study
from spaces.table import Space, find_space
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import FINISHED, INTERRUPTED, OOM, PAUSED, RUNNING, STOPPED
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import DamagedError

CPU = Machine(cores=2, gpus=0)
E = 6


def value(config, epoch):
    """Return a curve's value: what it rises to goes by the config."""
    height = zlib.crc32(str(sorted(config["loss"].items())).encode()) % 97 / 97
    return 0.1 + 0.3 * height * (1 - 0.6**epoch)


def begin(path, **options):
    """Return a new run's folder and plan."""
    run = RunFolder(path)
    run.path.mkdir(parents=True)
    plan = new_plan(Settings(**{"epochs": E, "trials": 20, **options}), CPU)
    write_json(run.path / "search.json", {"plan": plan.__dict__, **MEASURED})
    return run, plan


def searcher(run, plan, space=None):
    """Return searcher and scheduler as `search/driver/tune_runner.py` makes them, on a run that was perhaps cut off."""
    settle(run)
    space = space or find_space(plan.space, plan.scope)
    study = open_study(run, space, plan.start)
    thawing = Thawing(run, E, plan.trials)
    thawing.load()
    search = StudySearch(run, study, space, plan.config, plan.trials, thawing, start=plan.start)
    return search, ThawingScheduler(thawing)


def play(run, plan, turns=999, space=None):
    """Play a search to its end, or cut it off; returns the trials in the order they got an epoch."""
    search, scheduler = searcher(run, plan, space)
    order = []
    for turn in range(turns):
        sampled = search.suggest(str(turn))
        if sampled == StudySearch.FINISHED:
            search.close()
            return order
        folder, trial = run.trial(sampled["number"]), SimpleNamespace(config=sampled)
        folder.write_status(RUNNING)
        folder.last_state.touch()
        write_json(folder.path / "config.json", {**sampled["config"], "device": "cpu", "precision": "bf16"})
        rows = folder.curve()
        on = not rows or scheduler.on_trial_result(None, trial, rows[-1]) == scheduler.CONTINUE
        while on:
            rows.append({"epoch": len(rows) + 1, "val_miou": value(sampled["config"], len(rows) + 1)})
            order.append(sampled["number"])
            folder.write_curve(rows)
            on = scheduler.on_trial_result(None, trial, rows[-1]) == scheduler.CONTINUE
            if on:
                search.on_trial_result(str(turn), rows[-1])
        folder.write_status(FINISHED if len(rows) >= E else PAUSED, "no reason", epochs=len(rows))
        search.on_trial_complete(str(turn), rows[-1])
    mark_interrupted(run.trials())
    return order


def more(run, **options):
    """Extend a run as `search/run.py` does; returns its plan."""
    before = stored_plan(run)
    plan = extended_plan(before, run, Settings(**options), CPU)
    extend(run, before, plan)
    assert stored_plan(run) == plan
    return plan


def contents(run, numbers):
    """Return all that is in some trials' folders."""
    return {path: path.read_bytes() for number in numbers for path in run.trial(number).path.iterdir()}


@pytest.fixture(scope="module")
def searched_once(tmp_path_factory):
    run, plan = begin(tmp_path_factory.mktemp("extend") / "run")
    play(run, plan)
    return run


@pytest.fixture
def searched(searched_once, tmp_path):
    shutil.copytree(searched_once.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_twenty_trials_more_are_drawn_from_what_twenty_have_shown_and_none_is_run_again(searched, monkeypatch):
    seen = []

    class Looks(optuna.samplers.TPESampler):
        def sample_relative(self, study, trial, space):
            seen.append(len(study._get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))))
            return super().sample_relative(study, trial, space)

    monkeypatch.setattr(sampling, "TPESampler", Looks)
    configs = [folder.config() for folder in searched.trials()]
    finished = [folder.number for folder in searched.trials() if folder.status().state == FINISHED]
    before = contents(searched, finished)
    epochs = {folder.number: len(folder.curve()) for folder in searched.trials()}
    plan = more(searched)
    assert (plan.trials, plan.start) == (40, 20)
    order = play(searched, plan)
    assert seen[0] == 20  # of which it has all before its first own trial
    assert len(searched.trials()) == 40
    assert contents(searched, finished) == before
    for folder in searched.trials():
        again = order.count(folder.number)
        assert len(folder.curve()) == again + epochs.get(folder.number, 0) <= E
    study = open_study(searched)
    assert not any("fixed_params" in trial.system_attrs for trial in study.get_trials()[20:])
    assert [folder.config() for folder in searched.trials()][:20] == configs
    assert all(folder.config() not in configs for folder in searched.trials()[20:])
    assert {trial.state for trial in study.get_trials()} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(searched.record().extended) == 1


def test_trials_become_part_of_a_wider_space_and_keep_their_own_config(searched):
    before = {folder.number: (folder.params(), folder.config()) for folder in searched.trials()}
    plan = more(searched, space="losses+optimizers", trials=6)
    play(searched, plan)
    study = open_study(searched).get_trials()
    space = find_space(plan.space, plan.scope)
    for folder in searched.trials()[:20]:
        assert (folder.params(), folder.config()) == before[folder.number]
        assert "lr" in folder.params()
        assert study[folder.number].params == express(space, folder.config(), folder.params()).params
        assert study[folder.number].params["adamw_lr"] == folder.params()["lr"]
    assert all("optimizer" in folder.params() and "lr" not in folder.params() for folder in searched.trials()[20:])
    for params, number in zip(space.first_trials, (20, 21), strict=False):  # that are new
        assert params.items() <= searched.trial(number).params().items()


def widened(trial):
    """`losses`, as it were, with further choices and wider ranges."""
    loss = trial.suggest_categorical("loss", ("cross_entropy", "focal", "another", "dice", "ce_lovasz"))
    rate = trial.suggest_float("lr", 1e-6, 1.0, log=True)
    return {"loss": {"name": loss}, "optimizer": {"name": "adamw", "lr": rate}}


def test_ranges_of_the_same_names_may_have_changed(searched):
    """Optuna refuses other choices under the name of a parameter that it knows."""
    plan = more(searched, trials=8)
    assert play(searched, plan, space=Space(widened, ()))
    study = open_study(searched).get_trials()
    assert len(study) == 28
    for trial in study[:20]:
        assert trial.distributions["lr"].high == 1.0
    assert any("loss" not in trial.params for trial in study[:20])  # is no choice any more
    assert all(searched.trial(number).params()["loss"] for number in range(20))
    assert all(each.params.keys() == {"loss", "lr"} for each in study[20:])


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 12), max_size=4))
def test_an_extension_that_is_cut_off_comes_to_the_same_trials(searched_once, tmp_path_factory, cuts):
    found = []
    for parts in ([], cuts):
        run = RunFolder(tmp_path_factory.mktemp("cut") / "run")
        shutil.copytree(searched_once.path, run.path)
        plan = more(run, space="losses+schedulers", trials=5)
        for turns in parts:
            play(run, plan, turns)
            plan = stored_plan(run)
        play(run, plan)
        found.append({folder.number: (folder.config(), folder.curve()) for folder in run.trials()})
    assert found[0] == found[1]


@pytest.mark.parametrize("done", range(4))
def test_a_kill_in_the_midst_of_extending_is_made_good(searched, monkeypatch, done):
    stopped = [folder.number for folder in searched.trials() if folder.status().state == STOPPED]
    assert len(stopped) > 2
    before = stored_plan(searched)
    plan = extended_plan(before, searched, Settings(trials=1), CPU)
    write = TrialFolder.write
    count = []

    def dies(self, record):
        if len(count) == done:
            raise KeyboardInterrupt
        count.append(write(self, record))

    monkeypatch.setattr(TrialFolder, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        extend(searched, before, plan)
    monkeypatch.undo()
    assert stored_plan(searched) == plan
    settle(searched)
    assert [folder.number for folder in searched.trials() if folder.status().state == PAUSED] == stopped
    assert not searched.study.exists() and (searched.path / "study-1.journal").exists()
    assert searched.trial(stopped[0]).status().epochs
    play(searched, plan)
    settle(searched)  # once is enough
    assert PAUSED not in {folder.status().state for folder in searched.trials()}


def test_stopped_trials_go_on_to_their_end_where_nothing_stops(searched):
    stopped = [folder.number for folder in searched.trials() if folder.status().state == STOPPED]
    gone = stopped[-1]
    searched.trial(gone).last_state.unlink()
    plan = more(searched, trials=0, stopper=NO_STOPPING)
    assert list(searched.record().extended[0].again) == [number for number in stopped if number != gone]
    assert {searched.trial(number).status().state for number in stopped if number != gone} == {INTERRUPTED}
    space = find_space(plan.space, plan.scope)
    study = open_study(searched, space, plan.start)
    search = StudySearch(searched, study, space, plan.config, plan.trials, start=plan.start)
    handed = [search.suggest(str(turn)) for turn in range(len(stopped) - 1)]
    assert [each["number"] for each in handed] == [number for number in stopped if number != gone]
    assert all(each["resume"] for each in handed)
    own = searched.trial(handed[0]["number"]).config()
    assert handed[0]["config"] == {**own, "device": "auto", "precision": "auto"}  # as this machine has it
    assert search.suggest("none is left") is None


def test_what_was_broken_or_never_began_is_not_run_again(tmp_path):
    run, plan = begin(tmp_path / "run", trials=3, stopper=NO_STOPPING)
    search, _ = searcher(run, plan)
    for name in "abc":
        number = search.suggest(name)["number"]
    write_json(run.trial(0).path / "config.json", TrialConfig(epochs=E).to_dict())
    run.trial(0).write_status(OOM, "too large")
    run.trial(1).write_status(RUNNING)
    plan = more(run, trials=1, space="optimizers")
    space = find_space(plan.space, plan.scope)
    study = open_study(run, space, plan.start)
    states = [trial.state for trial in study.get_trials()[:3]]
    assert states == [TrialState.PRUNED, TrialState.RUNNING, TrialState.RUNNING]
    search = StudySearch(run, study, space, plan.config, plan.trials, start=plan.start)
    config = search.suggest("x")
    assert (config["number"], config["resume"]) == (1, False)
    assert "optimizer" in run.trial(1).params()  # it had not begun to train
    assert number == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trials": -1}, "--trials with --extend is how many to add, at least 0, found -1"),
        ({"space": "none"}, "space none has one config, which run run has; name a --space"),
        ({"encoders": "light"}, "--encoders is of the space encoders, found --space losses"),
        ({"trials": 0, "stopper": ASHA}, "--trials 0 adds nothing: ASHA stops for good; add trials, or --stopper"),
        ({"trials": 0}, "no stopped trial of run run has a chance of 5% to end in front; best is .* --stopper none"),
    ],
)  # fmt: skip
def test_what_adds_nothing_is_refused_and_changes_nothing(searched, options, told):
    before = (searched.path / "search.json").read_bytes()
    with pytest.raises(ValueError, match=told):
        extended_plan(stored_plan(searched), searched, Settings(**options), CPU)
    for folder in searched.trials():
        folder.last_state.unlink()
    with pytest.raises(ValueError, match="run run has no stopped trial with the state it would go on from"):
        extended_plan(stored_plan(searched), searched, Settings(trials=0), CPU)
    assert (searched.path / "search.json").read_bytes() == before


def test_spaces_bring_what_they_choose_from_and_trials_keep_their_sizes(tmp_path):
    searched, _ = begin(tmp_path / "run", image_size=128)
    plan = more(searched, trials=1, space="losses+augmentations+encoders")
    assert plan.models and len(plan.image_sizes) == 3
    narrow = extended_plan(plan, searched, Settings(trials=1, space="losses"), CPU)
    assert (narrow.models, narrow.image_sizes) == ([], plan.image_sizes)
    few = replace(plan, models=plan.models[:2])
    assert extended_plan(few, searched, Settings(trials=1), CPU).models == few.models
    assert extended_plan(few, searched, Settings(trials=1, encoders="light"), CPU).models == plan.models


def test_as_many_trials_as_the_search_began_with_by_default_however_often(searched):
    assert [more(searched).trials, more(searched, trials=3).trials, more(searched).trials] == [40, 43, 63]
    assert [(each.trials, each.stopper) for each in searched.record().extended] == [
        (20, FORECAST),
        (40, FORECAST),
        (43, FORECAST),
    ]


def test_budgets_count_from_the_extension_on(searched):
    assert extended_at(searched) == 0.0
    more(searched)
    since = extended_at(searched)
    usage = Usage(sessions=tuple(Held(at, at + 3600, 2.0) for at in (since - 9999, since + 1)))
    assert usage.total() == 4.0
    assert usage.total(since) == 2.0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--extend a --epochs 9", "--epochs is fixed by the run that --extend continues; its learning rates follow"),
        ("--extend a --seed 1", "--seed is fixed by the run that --extend continues; leave it out"),
        ("--extend a --resume a", "--extend adds to it"), ("--extend a --confirm a", "pass one of them"),
        ("--extend a --top 3", "--top belongs to --confirm"),
        ("--resume a --warm-start b", "--warm-start is fixed by the run that --resume continues"),
        ("--extend a --warm-start b", "--warm-start is fixed by the run that --extend continues"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(given, told):
    with pytest.raises(ValueError, match=told):
        parse(given.split())
    assert parse(["--extend", "a", "--trials", "0", "--stopper", "none"]).trials == 0


OTHERWISE = [3, [3], [{}], [{"when": 0, "trials": 2, "again": [-1]}], [{"trials": 2, "again": []}]]


@pytest.mark.parametrize("extended", OTHERWISE)
def test_a_damaged_record_of_extensions_is_told(searched, extended):
    write_json(searched.path / "search.json", {**searched.search(), "extended": extended})
    for reads in (settle, extended_at):
        with pytest.raises(DamagedError, match=r"search.json is damaged: extended must list"):
            reads(searched)
