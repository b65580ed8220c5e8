"""What a search may cost, and where its hours went."""

import math
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.callbacks.usage import Hours, parts, print_hours
from search.run_state.past_usage import read_usage
from search.session.cost_forecast import describe, epochs_left, nearest_end, recorded_epoch, too_small
from search.settings.allocation import Machine, Resources
from search.settings.arguments import parse
from search.settings.budget import Budget, Clock, duration, expected_epochs, read_budget
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.freeze_thaw import Thawing
from search.worker.messages import Assignment
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, OOM, PAUSED, STOPPED

TWO_GPUS = Resources(2, 4, 1, "")
HALVES = Resources(4, 2, 0.5, "")
CORES = Resources(2, 1, 0, "")


DURATIONS = {"90m": 5400, "2h": 7200, "1d12h": 129_600, "1.5h": 5400, "45s": 45}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "2x", "2h3", "0h", "1.2.3h"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="takes a duration such as 90m"):
        duration(text)


@pytest.mark.parametrize(
    ("options", "share", "spent", "seconds"),
    [
        ({"gpu_hours": 20.0}, TWO_GPUS, 0, 36_000), ({"gpu_hours": 20.0}, HALVES, 10, 18_000),
        ({"gpu_hours": 1.0}, CORES, 0, 1800), ({"cost": 30.0, "rate": 3.0}, TWO_GPUS, 0, 18_000),
        ({"until": "2h"}, TWO_GPUS, 99, 7200), ({"rate": 3.0}, CORES, 0, float("inf")), ({}, CORES, 0, float("inf")),
    ],
)  # fmt: skip
def test_every_budget_is_an_end_in_time(options, share, spent, seconds):
    assert read_budget(Settings(**options), share, spent).seconds == seconds


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--gpu-hours 2 --until 2h", "--gpu-hours and --until both limit"), ("--cost 5", "needs --rate"),
        ("--gpu-hours 0", "--gpu-hours must be a number above 0, found 0"), ("--rate -1", "--rate must be a number"),
        ("--gpu-hours nan", "found nan"), ("--cost inf --rate 1", "found inf"), ("--until 2", "such as 90m"),
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused_before_anything_starts(given, told):
    with pytest.raises(ValueError, match=told):
        parse(given.split())


def test_what_is_spent_is_refused():
    with pytest.raises(ValueError, match=r"--gpu-hours 2\.0 is spent: the run has taken 3\.00 GPU-hours"):
        read_budget(Settings(gpu_hours=2.0), TWO_GPUS, 3.0)


def test_options_are_read():
    given = parse(["--gpu-hours", "20", "--rate", "3.06"])
    assert (given.gpu_hours, given.rate) == (20.0, 3.06)


def test_clock_calls_before_the_end():
    called = []
    clock = Clock(Budget("--until 3s", 2.2, None))
    clock.timer(lambda: called.append(clock.left()))
    time.sleep(0.5)
    assert len(called) == 1 and 1.7 < called[0] < 2.1  # two seconds to save
    assert Clock(Budget("", float("inf"), None)).timer(called.clear) is None


def test_expected_epochs_of_each_stopper():
    def epochs(**options):
        return expected_epochs(new_plan(Settings(trials=36, epochs=9, **options), Machine(2, 0)))

    assert epochs(stopper="none") == 36 * 9
    assert epochs(grace=1) == pytest.approx(36 * (1 + 2 / 3 + 6 / 9))
    assert epochs() == pytest.approx(36 * 9 * 0.384, rel=0.01)


def test_forecast_says_what_ends_it():
    told = describe(Budget("--gpu-hours 1", 1800, 3.0), TWO_GPUS, 100, 72)
    assert told == (
        "about 100 epochs of 72.0 s: 2.00 GPU-hours, 6.00 at 3 an hour, 60 min; --gpu-hours 1 ends it after 50% of that"
    )
    assert "ends" not in describe(Budget("--until 2h", 7200, None), TWO_GPUS, 100, 72)


@pytest.mark.parametrize(
    ("budget", "share", "needed", "told"),
    [
        (Budget("--until 4m", 240, None), CORES, 12, "pays about 7.9 epochs of 30.0 s .* a trial has 12. What helps: "
         r"--until 7m; or a new run with shorter trials \(--epochs 7\)\."),
        (Budget("--gpu-hours 0.1", 180, None), TWO_GPUS, 9, r"--gpu-hours 0\.16; or --concurrent 1, as .*; or a new"),
        (Budget("--cost 0.3", 180, 3.0), TWO_GPUS, 9, r"--cost 0\.46; or --concurrent 1"),
        (Budget("--until 4m", 240, None), HALVES, 12, r"--until 7m; or fewer trials .* \(--gpus-per-trial 1\)"),
        (Budget("--until 1m", 60, None), CORES, 4, "the trial nearest to its end lacks 4. What helps: --until 3m. As"),
    ],
)  # fmt: skip
def test_a_budget_that_brings_no_trial_to_its_end_is_told_and_what_helps(budget, share, needed, told):
    epochs = 12 if needed == 4 else needed
    plan = new_plan(Settings(epochs=epochs), Machine(2, 0))
    assert re.search(told, too_small(budget, share, plan, needed, 30.0))
    assert too_small(replace(budget, seconds=needed * 30 + 25.0), share, plan, needed, 30.0) is None
    assert too_small(Budget("", math.inf, None), share, plan, needed, 30.0) is None


def test_what_a_run_has_trained_says_what_an_epoch_takes_and_what_its_trials_lack(tmp_path):
    run = RunFolder(tmp_path)
    assert recorded_epoch(run) is None and nearest_end(run, 9) == 9
    for number, (state, epochs) in enumerate(((FINISHED, 9), (PAUSED, 4), (STOPPED, 8), (PAUSED, 2))):
        run.trial(number).write_params({})
        run.trial(number).write_status(state)
        run.trial(number).write_curve(
            [{"epoch": epoch + 1, "val_miou": 0.1, "train_s": 2.0, "val_s": 1.0} for epoch in range(epochs)]
        )
    assert recorded_epoch(run) == 3.0 and nearest_end(run, 9) == 5


def test_epochs_left_are_counted_from_the_start(tmp_path):
    clock, hours = Clock(Budget("--until 2m", 120, None)), Hours(RunFolder(tmp_path), CORES)
    assert 10 < epochs_left(clock, hours, 10.0)() < 11.9  # two seconds are to save
    assert math.isinf(epochs_left(clock, hours, None)())
    hours.held["0"], hours.epochs = 60.0, 3
    assert 5 < epochs_left(clock, hours, 10.0)() < 5.95


def test_nothing_begins_that_could_not_come_to_its_end(tmp_path):
    run = RunFolder(tmp_path)
    thawing = Thawing(run, 9, 4)
    for number, values in ((1, [0.1]), (2, [0.1, 0.2, 0.3, 0.4])):
        thawing.begin(number)
        for epoch, value in enumerate(values, 1):
            thawing.observe(number, epoch, value)
        thawing.paused.add(number)
        run.trial(number).path.mkdir(parents=True)
        run.trial(number).last_state.touch()
    assert thawing.more()
    thawing.epochs_left = lambda: 6.0
    assert not thawing.more() and thawing.next() == 2 and thawing.limited()
    thawing.begin(2)
    assert thawing.next() is None and thawing.limited()


def hours_of(run, share, events):
    """Play trials that hold their share for so many seconds."""
    hours, now = Hours(run, share), [1000.0]
    hours.began = now[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.callbacks.usage.time.time", lambda: now[0])
        for number, (wait, hold, event) in enumerate(events):
            trial = SimpleNamespace(trial_id=f"t{number}", config=Assignment(number, {}, False).sent())
            now[0] += wait
            hours.on_trial_start(0, [], trial)
            now[0] += hold
            getattr(hours, event)(0, [], trial)
        hours.close()
    return hours


@pytest.mark.parametrize(("resume", "epochs"), [(False, 2), (True, 1)])
def test_epochs_alone_are_counted(tmp_path, resume, epochs):
    hours = Hours(RunFolder(tmp_path), CORES)
    trial = SimpleNamespace(trial_id="t", config=Assignment(0, {}, resume).sent())
    hours.on_trial_start(0, [], trial)
    for result in ({"placed": "node 0"}, {"epoch": 4, "val_miou": 0.1}, {"halted": "-"}, {"epoch": 5, "val_miou": 0.1}):
        hours.on_trial_result(0, [], trial, result)
    assert hours.epochs == epochs  # one that goes on tells its last epoch once more


def test_a_limit_of_ages_has_a_timer_all_the_same():
    timer = Clock(Budget("--until 99999999999999d", 8.64e18, None)).timer(lambda: None)
    assert timer is not None and timer.is_alive()
    time.sleep(0.05)
    assert timer.is_alive()
    timer.cancel()


def test_hours_by_what_they_went_to_are_all_there_were(tmp_path):
    run = RunFolder(tmp_path)
    states = (FINISHED, STOPPED, FAILED, OOM, PAUSED)
    for number, state in enumerate(states):
        folder = run.trial(number)
        folder.write_params({})
        folder.write_curve([{"epoch": 1, "val_miou": 0.1, "val_miou_full": 0.1, "train_s": 200.0, "val_s": 100.0}])
        folder.write_status(state)
    one = Resources(1, 1, 0.5, "")
    ends = ("on_trial_complete", "on_trial_complete", "on_trial_complete", "on_trial_error", "on_trial_recover")
    hours_of(run, one, [(60 if number < 3 else 0, 400, end) for number, end in enumerate(ends)])
    found = parts(run)
    half_hour = {name: round(hours * 3600 / 0.5) for name, hours in found.items()}
    assert half_hour == {
        "finished": 300,
        "stopped early": 300,
        "paused": 300,
        "failed": 400,
        "out of memory": 400,
        "overhead": 300,
        "idle": 180,
        "confirmed": 0,
        "interrupted": 0,
    }
    assert sum(found.values()) == pytest.approx(read_usage(run).total())
    console = Console(record=True, width=200)
    print_hours(run, 2.0, console)
    text = console.export_text()
    assert "0.30 GPU-hours (0.61 at 2 an hour): finished 14%, stopped early 14%, paused 14%" in text
    # A second session adds to the first.
    hours_of(run, one, [(0, 0, "on_trial_complete")])
    assert len(read_usage(run).sessions) == 2


def test_packed_trials_count_by_their_own_shares(tmp_path):
    run, hours = RunFolder(tmp_path), Hours(RunFolder(tmp_path), Resources(4, 1, 0.25, "", packed=True))
    with pytest.MonkeyPatch.context() as patch:
        now = [hours.began]
        patch.setattr("search.callbacks.usage.time.time", lambda: now[0])
        for number, gpus in enumerate((0.25, 0.75)):
            folder = run.trial(number)
            folder.write_params({})
            folder.write_curve([{"epoch": 1, "val_miou": 0.1, "val_miou_full": 0.1, "train_s": 3600.0, "val_s": 0.0}])
            folder.write_status(FINISHED)
            given = Assignment(number, {}, False, gpus).sent()
            trial = SimpleNamespace(trial_id=f"t{number}", config=given)
            hours.on_trial_start(0, [], trial)
        now[0] += 3600
        for number in range(2):
            trial = SimpleNamespace(trial_id=f"t{number}", config=Assignment(number, {}, False).sent())
            hours.on_trial_complete(0, [], trial)
        hours.close()
    assert parts(run)["finished"] == pytest.approx(1.0) and parts(run)["idle"] == pytest.approx(0.0)


def test_hours_of_further_trainings_are_their_own(tmp_path):
    run = RunFolder(tmp_path)
    rows = [{"epoch": 1, "val_miou": 0.1, "val_miou_full": 0.1, "train_s": 200.0, "val_s": 100.0}]
    trial, hours, now = run.trial(0), Hours(run, CORES), time.time()
    for folder in (trial, trial.further(1), trial.further(1, 6)):
        folder.path.mkdir(parents=True)
        folder.write_curve(rows)
        folder.write_status(FINISHED)
    hours.held |= {"0": 400.0, "0/1": 350.0}
    config = Assignment(0, {}, False, further=1, seed=6).sent()
    further = SimpleNamespace(trial_id="t", config=config)
    hours.on_trial_start(0, [], further)
    hours.since["t"] = now - 330
    hours.on_trial_result(0, [], further, {"epoch": 1})
    hours.on_trial_complete(0, [], further)
    hours.close()
    assert read_usage(run).held["0/1-seed6"] == pytest.approx(330, abs=5)
    found = {name: round(each * 3600, -1) for name, each in parts(run).items()}
    assert (found["finished"], found["confirmed"], found["overhead"]) == (300, 600, 180)


def test_an_epoch_that_is_told_twice_counts_once(tmp_path):
    hours = Hours(RunFolder(tmp_path), CORES)
    for resume, epochs in ((False, (1, 2)), (True, (2, 3))):
        trial = SimpleNamespace(trial_id=str(resume), config=Assignment(0, {}, resume).sent())
        for epoch in epochs:
            hours.on_trial_result(0, [], trial, {"epoch": epoch})
    other = SimpleNamespace(trial_id="x", config=Assignment(1, {}, True).sent())  # it was begun in an earlier session
    for result in ({"epoch": 5}, {"halted": "stop"}, {"epoch": 6}):
        hours.on_trial_result(0, [], other, result)
    assert hours.epochs == 3 + 1


def test_a_run_without_hours_says_nothing(tmp_path):
    (tmp_path / "hours.json").write_text('{"unit": 3')
    console = Console(record=True)
    print_hours(RunFolder(tmp_path), None, console)
    assert console.export_text() == ""
