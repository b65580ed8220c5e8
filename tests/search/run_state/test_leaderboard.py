import io
import shlex
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState
from ray.tune.progress_reporter import TrialProgressCallback
from rich.console import Console

from search.callbacks.progress import Progress, show_time
from search.callbacks.tensorboard_log import epoch_values
from search.callbacks.trial_states import RecordStates, mark_interrupted
from search.cluster.ray_adapter import Silent
from search.racing.candidates import find_finalists
from search.run_state.leaderboard import print_results, resume_command, show_params, standings
from search.run_state.past_usage import Usage
from search.run_state.run_location import run_folder
from search.settings.allocation import Machine
from search.settings.arguments import parse
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.recovery import recover
from search.tuning.study import open_study
from search.worker.messages import Assignment
from spaces.parts import Scope
from spaces.table import find_space
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, PAUSED, RUNNING, STOPPED
from trainable.storage.atomic_write import write_json

EPOCHS = 4
PLAN = new_plan(Settings(epochs=EPOCHS), Machine(cores=2, gpus=0))


def add_trial(run, number, state, values, reason=""):
    folder = run.trial(number)
    folder.path.mkdir(parents=True)
    folder.write_params({"loss": "focal", "focal_gamma": 2.0, "lr": 0.000123456})
    folder.write_status(state, reason)
    if values:
        folder.write_curve(
            [
                {"epoch": epoch, "val_miou": value, "val_miou_full": value, "train_s": 1.0, "val_s": 0.5}
                for epoch, value in enumerate(values, start=1)
            ]
        )


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run-a")
    add_trial(run, 0, FINISHED, [0.1, 0.3, 0.2, 0.25])
    add_trial(run, 1, STOPPED, [0.05])
    add_trial(run, 2, FAILED, [], "ValueError: no [/x]")
    add_trial(run, 3, STOPPED, [0.1, 0.35])
    return run


def printed(show, terminal=False):
    out = io.StringIO()
    show(Console(file=out, width=140, force_terminal=terminal, markup=False, emoji=False))
    return out.getvalue()


def test_trials_rank_by_their_best_epoch_and_failures_come_last(run):
    assert [each.number for each in standings(run)] == [3, 0, 1, 2]


def test_paused_trials_of_an_interrupted_search_have_saved_nothing(run):
    add_trial(run, 4, PAUSED, [0.2])
    assert "stopping saved 5 epochs (38% of 13)" in printed(lambda console: print_results(run, PLAN, console))


def test_one_epoch_is_told_in_the_singular(tmp_path):
    run = RunFolder(tmp_path / "a")
    add_trial(run, 0, STOPPED, [0.1])
    plan = new_plan(Settings(trials=1, epochs=2), Machine(cores=1, gpus=0))
    text = printed(lambda console: print_results(run, plan, console))
    assert "1 epoch trained in 0.0 trial minutes; stopping saved 1 epoch (50% of 2)" in text


def test_results_name_the_saving_the_place_the_failure_and_the_next_command(run):
    text = printed(lambda console: print_results(run, PLAN, console))
    assert "stopping saved 5 epochs (42% of 12)" in text
    assert "trial 2 failed: ValueError: no [/x]" in text
    assert f"python analysis/report.py --run {run.path} --out report.html" in text
    assert f"python search/run.py --confirm {run.path.name} --runs-dir {run.path.parent}" in text
    assert f"{run.path}/trials/0003/config.json" in text
    assert "lr=0.000123 " in text


def test_values_are_short():
    assert show_params({"loss": "ce_dice", "blend_weight": 0.123456, "n": 3}) == "ce_dice blend_weight=0.123 n=3"
    assert [show_time(seconds) for seconds in (5, 65, 3700)] == ["5s", "1m05s", "1h01m"]


def event(callback, name, number, last_result=None, **more):
    config = Assignment(number, {}, False).sent()
    trial = SimpleNamespace(trial_id=str(number), config=config, last_result=last_result, error_file=None)
    getattr(callback, name)(iteration=0, trials=[], trial=trial, **more)


def test_states_are_recorded(tmp_path):
    run = RunFolder(tmp_path)
    for number, values in enumerate(([0.1] * EPOCHS, [0.1], [], [], [0.1, 0.2])):
        add_trial(run, number, RUNNING, values)
    record = RecordStates(run, EPOCHS)
    for number in range(5):
        event(record, "on_trial_start", number)
    event(record, "on_trial_complete", 0)
    event(record, "on_trial_complete", 1)
    broken = {"broken": FAILED, "reason": "ValueError: no", "traceback": "..."}
    event(record, "on_trial_complete", 2, last_result=broken)
    event(record, "on_trial_error", 3)
    assert [folder.number for folder in mark_interrupted(run.trials())] == [4]
    status = [folder.status() for folder in run.trials()]
    assert [record.state for record in status] == [FINISHED, STOPPED, FAILED, FAILED, INTERRUPTED]
    assert status[1].reason == "stopped by ASHA after epoch 1 of 4"
    assert (status[2].reason, status[2].traceback) == ("ValueError: no", "...")
    assert status[3].reason.startswith("its process ended without a word")
    assert status[4].reason == "interrupted after epoch 2"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_counts_and_tells_events(tmp_path, terminal):
    run = RunFolder(tmp_path)
    add_trial(run, 0, RUNNING, [])

    def show(console):
        progress = Progress(run, trials=3, epochs=EPOCHS, console=console)
        event(progress, "on_trial_start", 0)
        event(progress, "on_trial_result", 0, result={"placed": "node 0"})  # tells nothing of interest here
        assert not progress.lost
        for epoch, value in enumerate((0.1, 0.3, 0.2), start=1):
            event(progress, "on_trial_result", 0, result={"epoch": epoch, "val_miou": value})
        run.trial(0).write_status(STOPPED, "stopped by ASHA after epoch 3 of 4")
        event(progress, "on_trial_complete", 0)
        assert progress.best() == "0"
        console.print(progress.table())

    text = printed(show, terminal)
    assert "1 stopped" in text
    assert "0.3000" in text
    if not terminal:
        assert text.count(" leads: ") == 1
        assert "trial 0 stopped: stopped by ASHA after epoch 3 of 4, best val_miou 0.3000 (1 of 3 ended" in text


def test_why_a_trial_is_tried_again_is_told_and_one_put_aside_starts_no_more(tmp_path):
    run, out = RunFolder(tmp_path), io.StringIO()
    add_trial(run, 0, RUNNING, [])
    progress = Progress(run, trials=3, epochs=9, console=Console(file=out, width=200))
    event(progress, "on_trial_start", 0)
    event(progress, "on_trial_result", 0, result={"excused": "FileNotFoundError: no encoder weights"})
    event(progress, "on_trial_recover", 0)
    event(progress, "on_trial_recover", 0)
    run.trial(0).write_status(INTERRUPTED, "FileNotFoundError: no encoder weights, 3 times in a row", waits=True)
    event(progress, "on_trial_recover", 0)
    event(progress, "on_trial_start", 0)
    told = [line.partition(" ")[2] for line in out.getvalue().splitlines()]
    assert told[1:] == [
        "trial 0: FileNotFoundError: no encoder weights; it is tried again from its last epoch",
        "trial 0: its process is gone; it is tried again from its last epoch",
    ]


def test_piped_search_is_heard_each_minute_and_a_better_best_is_told(tmp_path):
    run, now, out = RunFolder(tmp_path), [0.0], io.StringIO()
    add_trial(run, 0, RUNNING, [])
    progress = Progress(run, trials=3, epochs=150, console=Console(file=out, width=130), now=lambda: now[0])

    def lines(seconds):
        """Let time pass, a tick each second; returns what is told."""
        before = len(out.getvalue())
        for _ in range(seconds):
            now[0] += 1
            progress.tick()
        return out.getvalue()[before:].splitlines()

    def epoch(number, value):
        event(progress, "on_trial_result", 0, result={"epoch": number, "val_miou": value})

    assert len(lines(180)) == 3  # data are looked at, the forecast is made: it lives
    event(progress, "on_trial_start", 0)
    epoch(1, 0.1)
    (line,) = lines(60)
    assert "trial 0 epoch 1/150; best val_miou 0.1000 by trial 0; 0 of 3 ended, " in line
    assert line.endswith(" left")
    epoch(2, 0.2)  # it led before
    (line,) = lines(20)
    assert "trial 0 epoch 2/150; best val_miou 0.2000 by trial 0, better than before" in line
    epoch(3, 0.15)
    assert lines(39) == []
    (line,) = lines(21)
    assert "epoch 3/150; best val_miou 0.2000 by trial 0; " in line
    for number in range(4, 64):  # better with each epoch of a second: no line for each
        epoch(number, number / 100)
        lines(1)
    assert 3 <= len(out.getvalue().splitlines()) - 8 <= 6
    assert all(len(lines(60)) >= 1 for _ in range(10))


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_waited_for_is_told_until_an_epoch_has_ended(tmp_path, terminal):
    run = RunFolder(tmp_path)

    def show(console):
        progress = Progress(run, trials=3, epochs=EPOCHS, console=console)
        shown = (lambda: console.print(progress.table())) if terminal else (lambda: console.print(progress.line()))
        with progress.measuring("batches are timed"):
            shown()
        shown()
        add_trial(run, 0, RUNNING, [])
        event(progress, "on_trial_start", 0)
        shown()
        event(progress, "on_trial_result", 0, result={"epoch": 1, "val_miou": 0.1})
        shown()

    text = printed(show, terminal)
    told = [line.partition("no epoch has ended yet: ")[2] for line in text.splitlines() if "no epoch has" in line]
    assert [line[:13] for line in told] == ["batches are t", "the processes", "the first tri"]
    assert ("batches are timed" in text.splitlines()[0]) is not terminal  # a line of its own as it begins


def test_terminal_has_the_table_alone(tmp_path):
    run, now = RunFolder(tmp_path), [0.0]
    add_trial(run, 0, RUNNING, [])

    def show(console):
        progress = Progress(run, trials=3, epochs=EPOCHS, console=console, now=lambda: now[0])
        now[0] = 1000.0
        progress.tick()

    assert printed(show, True).strip() == ""


def test_tune_says_nothing_of_a_trial_that_ended_without_a_result(capsys):
    class Trial:
        def __init__(self):
            self.last_result = {}

    TrialProgressCallback().on_trial_complete(0, [], Trial())
    assert "completed. Last result" in capsys.readouterr().out  # it is this that has to be kept quiet
    Silent().on_trial_complete(0, [], Trial())
    assert capsys.readouterr().out == ""


def test_time_left_is_what_a_search_by_forecasts_takes_or_the_budget_leaves(tmp_path):
    run = RunFolder(tmp_path)
    for number, values in enumerate(([0.1], [0.2], [0.1, 0.2, 0.3, 0.4])):
        add_trial(run, number, PAUSED if len(values) == 1 else FINISHED, values)

    def left(**options):
        progress = Progress(run, trials=3, epochs=EPOCHS, console=Console(), **options)
        progress.epochs_seen, progress.started = 6, time.monotonic() - 600
        return progress.eta()

    assert left(expected=3.0) == "0s"  # the longest has ended, no other is sure to go on
    assert left(expected=9.0) == "5m00s"  # 3 more at 100 s each
    assert left(expected=9.0, seconds_left=lambda: 90.0) == "1m30s"


def test_tensorboard_names_are_grouped_and_finite():
    found = epoch_values({"val_miou": 0.1, "iou_Paper": 0.2, "iou_Battery": float("nan"), "lr": 1.0, "config": {}})
    assert found == {"miou/val_miou": 0.1, "class_iou/Paper": 0.2, "run/lr": 1.0}


def test_worker_that_dies_while_it_starts_is_a_failed_trial(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.trial(0)
    folder.path.mkdir(parents=True)
    folder.write_params({"lr": 0.1})

    def show(console):
        progress = Progress(run, trials=1, epochs=EPOCHS, console=console)
        event(RecordStates(run, EPOCHS), "on_trial_error", 0)
        event(progress, "on_trial_error", 0)

    assert "trial 0 failed: its process ended without a word" in printed(show)
    assert folder.status().state == FAILED


def test_study_and_folders_are_reconciled_after_a_kill_between_their_writes(tmp_path):
    run = RunFolder(tmp_path)
    study = open_study(run)
    for state in (FAILED, RUNNING, RUNNING, RUNNING):
        trial = study.ask()
        add_trial(run, trial.number, state, [0.1])
        trial.report(0.1, 1)
    study.tell(1, state=TrialState.PRUNED)
    study.tell(2, state=TrialState.FAIL)
    recover(run, study, find_space("losses", Scope()))
    assert [folder.status().state for folder in run.trials()] == [FAILED, STOPPED, FAILED, RUNNING]
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[3].state == TrialState.RUNNING


def test_every_command_that_is_printed_is_one_that_works(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a b")
    add_trial(run, 0, FINISHED, [0.1, 0.2, 0.3, 0.4])
    for path, content in (
        (run.trial(0).path / "config.json", {"epochs": EPOCHS}),
        (run.folds, {}),
        (run.path / "search.json", {"plan": {"trials": 1, "base": {"epochs": 1}}}),
    ):
        write_json(path, content)
    plan = new_plan(Settings(trials=1, epochs=EPOCHS), Machine(cores=1, gpus=0))
    text = printed(lambda console: print_results(run, plan, console))
    commands = [
        shlex.split(line.split("    #")[0])
        for line in text.splitlines()
        if line.startswith("  ") and line.split()[0] in ("python", "tensorboard")
    ]
    by_name = {" ".join(each[1:3]) if each[1] == "-m" else each[1]: each for each in commands}
    assert len(commands) == len(by_name) == 4
    given = parse(by_name["search/run.py"][2:])
    assert run_folder(given).path == run.path
    assert find_finalists(run, plan, given.top, plan.folds, []) == [0]  # one trial is all there is
    paths = [Path(word) for each in commands for word in each if word.startswith(str(tmp_path)) and "runs/a b/" in word]
    assert paths and all(path.exists() for path in paths if path.suffix != ".html")


@pytest.mark.parametrize("state", [FAILED, None])
def test_what_cannot_be_confirmed_is_not_said_to_be_next(tmp_path, state):
    run = RunFolder(tmp_path / "a")
    run.path.mkdir()
    if state:
        add_trial(run, 0, state, [0.1])
    plan = new_plan(Settings(trials=1, epochs=EPOCHS), Machine(cores=1, gpus=0))
    text = printed(lambda console: print_results(run, plan, console))
    assert "next:" not in text
    with pytest.raises(ValueError, match=r"no trial of run a has ended an epoch.*go on with it by --resume a first"):
        find_finalists(run, plan, None, plan.folds, [])


def test_minutes_of_trials_are_those_that_they_held_their_share(tmp_path):
    run = RunFolder(tmp_path)
    add_trial(run, 0, INTERRUPTED, [])
    plan = new_plan(Settings(trials=1, epochs=EPOCHS), Machine(cores=1, gpus=0))
    Usage(held={"0": 150.0, "0/1": 900.0}).write(run)
    assert "0 epochs trained in 2.5 trial minutes" in printed(lambda console: print_results(run, plan, console))


def test_resume_command_keeps_resources_and_services(tmp_path):
    command = resume_command(RunFolder(tmp_path / "a b"), Settings(concurrent=1, wandb="p", epochs=3))
    assert command == f"python search/run.py --resume 'a b' --runs-dir {tmp_path} --concurrent 1 --wandb p"


def test_other_folds_are_not_next_where_the_data_says_what_validates(run):
    plan = replace(PLAN, folds=1)
    text = printed(lambda console: print_results(run, plan, console))
    assert "--confirm" not in text and "python analysis/report.py" in text
