"""Whole searches on real Ray, with the smallest network and data."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest
from ray import tune
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from search.callbacks.trial_states import RecordStates
from search.driver import tune_runner as launch
from search.preparation.data_setup import create, prepare, setting_of
from search.run import main
from search.run_state.leaderboard import print_results
from search.settings.allocation import Machine, Resources
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.study import open_study
from search.worker.trial_runner import run_trial
from spaces.table import Space
from tests.conftest import ROOT, write_photos
from tests.small_run import SMALL, command
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, INVALID, OOM, PAUSED, STOPPED


@pytest.fixture
def data(tmp_path):
    write_photos(tmp_path / "data", count=30)
    return tmp_path / "data"


def check_whole(run, trials, epochs):
    """Every trial ended, once; curves have no gap; the study agrees."""
    folders = run.trials()
    assert [folder.number for folder in folders] == list(range(trials))
    for folder in folders:
        assert [row["epoch"] for row in folder.curve()] == list(range(1, len(folder.curve()) + 1))
        state = folder.status().state
        assert state in (FINISHED, STOPPED)
        assert (len(folder.curve()) == epochs) == (state == FINISHED)
    states = {trial.number: trial.state for trial in open_study(run).get_trials()}
    pruned = {folder.number for folder in folders if folder.status().state == STOPPED}
    assert {number for number, state in states.items() if state == optuna.trial.TrialState.PRUNED} == pruned
    assert set(states.values()) <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}


@pytest.mark.slow
def test_search_leaves_a_run_folder_others_can_read(ended_search):
    done, run = ended_search
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    check_whole(run, 5, 4)
    assert len(done.stdout.splitlines()) < 80
    assert "Leaderboard" in done.stdout
    assert "analysis/report.py --run" in done.stdout
    record = run.search()
    assert record["plan"]["space"] == "losses"
    assert {"torch", "ray", "optuna"} < set(record["versions"])
    folder = run.best_trial()
    assert TrialConfig.from_dict(folder.config()).device == "cpu"
    assert folder.confusion()["scored"].sum() % (256 * 256) == 0
    events = EventAccumulator(str(folder.path)).Reload()
    assert [event.step for event in events.Scalars("miou/val_miou")] == [row["epoch"] for row in folder.curve()]
    values = [event.value for event in events.Scalars("miou/val_miou")]
    np.testing.assert_allclose(values, [row["val_miou"] for row in folder.curve()], rtol=1e-6)
    assert not list(run.path.rglob("*.pkl"))
    assert not list(run.path.rglob("*.tmp"))


def signalled(number, search, run, epochs):
    """Send a signal to a search once its trials have so many epochs more, and return what it printed."""
    deadline = time.monotonic() + 100
    before = trained = sum(len(folder.curve()) for folder in run.trials())
    while trained < before + epochs:
        assert time.monotonic() < deadline
        assert search.poll() is None, search.communicate()
        time.sleep(0.05)
        trained = sum(len(folder.curve()) for folder in run.trials())
    # Ctrl-C reaches the group, what systemd and Slurm send every process, Ray's too.
    for process in [psutil.Process(search.pid), *psutil.Process(search.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    out, err = search.communicate(timeout=60)
    assert search.returncode == 128 + number, out + err
    assert err == ""
    assert "spent" not in out
    assert {folder.status().state for folder in run.trials()} <= {INTERRUPTED, PAUSED, FINISHED}
    return out


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_signals_save_and_the_printed_commands_go_on(tmp_path, data):
    run = RunFolder(tmp_path / "runs" / "b")
    typed = command(tmp_path, data, "--name", "b", "--trials", "4", "--epochs", "6", "--until", "2h", *SMALL)
    saved = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        search = subprocess.Popen(
            typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
        )
        printed = re.search(r"go on with\n  python (.+)", out := signalled(number, search, run, 2))
        assert printed, out
        typed = [sys.executable, *printed[1].split()]
        for folder in run.trials():
            values = [row["val_miou"] for row in folder.curve()]
            before = saved.get(folder.number, [])
            assert values[: len(before)] == before  # no epoch twice
            saved[folder.number] = values
    resumed = subprocess.run(typed, capture_output=True, text=True, cwd=ROOT)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    check_whole(run, 4, 6)
    for number, values in saved.items():
        assert [row["val_miou"] for row in run.trial(number).curve()][: len(values)] == values


def sample_trouble(trial):
    """Trial 1 diverges, trial 2 cannot be built, trial 3 is to be killed, trial 4 trains with another rate than asked.

    Trial 5 does not fit into memory; trials 0 and 6 are sound.
    """
    trial.suggest_float("lr", 1e-3, 2e-3)
    rate = 1e38 if trial.number == 1 else 1e-3
    loss = {"name": "focal", "gama": 2.0} if trial.number == 2 else {"name": "cross_entropy"}
    return {"loss": loss, "optimizer": {"name": "adamw", "lr": rate}}


def trouble():
    """Return a trial function whose training is sabotaged where its number says so.

    Made in a function, so that it travels to the workers by value: they cannot import the tests.
    """

    def run_trouble(sampled, setting):
        import torch

        from trainable.engine import fold_training as training
        from trainable.engine.train_step import Stepper

        def build(*given, **more):
            optimizer = real_build(*given, **more)
            optimizer.param_groups[0]["lr"] = 0.5
            return optimizer

        def backward(self, photos, masks):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        real_build, real_backward = training.build_optimizer, Stepper._backward
        try:
            if sampled["number"] == 4:
                training.build_optimizer = build
            if sampled["number"] == 5:
                Stepper._backward = backward
            run_trial(sampled, setting)
        finally:  # the next trial runs in the same process
            training.build_optimizer, Stepper._backward = real_build, real_backward

    return run_trouble


class Killer(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if trial.config["number"] == 3:
            os.kill(result["pid"], signal.SIGKILL)


@pytest.mark.slow
def test_failed_trials_end_alone_with_their_reason(tmp_path, data, monkeypatch, capsys):
    monkeypatch.setattr(launch, "run_trial", trouble())
    monkeypatch.setattr(launch, "find_space", lambda name, scope: Space(sample_trouble, ()))
    plan = new_plan(
        Settings(
            data=data,
            cache_dir=tmp_path / "cache",
            trials=7,
            epochs=3,
            grace=3,
            image_size=32,
            batch_size=5,
            architecture="unet",
            encoder="tu-test_resnet",
        ),
        Machine(cores=2, gpus=0),
    )
    run = RunFolder(tmp_path / "runs" / "c")
    with Path(os.devnull).open("w") as nowhere:
        prepared = prepare(plan, run, read_training(data), resume=False, console=Console(file=nowhere))
    create(plan, run, prepared)
    setting = setting_of(plan, run, prepared)
    with launch.ray_running():
        launch.run_trials(plan, run, setting, Resources(2, 1, 0, ""), [RecordStates(run, 3), Killer()])
    status = [folder.status() for folder in run.trials()]
    assert [record.state for record in status] == [FINISHED, FAILED, FAILED, FAILED, INVALID, OOM, FINISHED]
    assert status[1].reason.startswith("DivergedError: ")
    assert "loss 'focal' has no parameter 'gama'; it has gamma" in status[2].reason
    assert "Traceback" in status[2].traceback
    assert "killed, out of memory, or crashed" in status[3].reason
    assert status[4].reason.startswith("config not applied: lr (asked 0.001, found 0.5)")
    assert status[5].reason.startswith("one photo of 32 px at a time does not fit: peak ")
    print_results(run, plan, Console(width=200))
    printed = capsys.readouterr().out
    assert "trial 4 invalid: config not applied: lr" in printed
    assert "trial 5 oom: one photo of 32 px" in printed
    assert optuna.trial.TrialState.RUNNING not in [trial.state for trial in open_study(run).get_trials()]


@pytest.mark.slow
def test_bad_input_is_one_clear_error_and_leaves_nothing(tmp_path, data, capsys, monkeypatch):
    def fails(*more, on=data):
        assert main(command(tmp_path, on, *more)[2:]) == 2
        return capsys.readouterr().err

    assert "unknown space 'x'; the spaces are: encoders, losses" in fails("--space", "x")
    assert "--name must be a plain folder name, found 'a/b'" in fails("--name", "a/b")
    assert "does not exist; pass --data an existing one" in fails(on=tmp_path / "none")
    assert "group of encoders 'tiny'; the groups are: light" in fails("--space", "encoders", "--encoders", "tiny")
    assert "unknown encoder 'resnet19'; did you mean" in fails("--encoder", "resnet19")
    assert "100 is not divisible by 32" in fails("--image-size", "100")
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert "--wandb needs the package wandb" in fails("--wandb", "project")
    (data / "batch_01_vt" / "0003.jpg").unlink()
    assert "photo batch_01_vt/0003.jpg does not exist; add it or remove its entry" in fails(*SMALL)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_is_extended_and_another_starts_warm_from_it(tmp_path, data):
    def run_with(*more):
        done = subprocess.run(command(tmp_path, data, *more), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    run_with("--name", "a", "--trials", "2", "--epochs", "2", "--stopper", "none", *SMALL)
    run = RunFolder(tmp_path / "runs" / "a")
    before = {path: path.read_bytes() for path in run.path.glob("trials/*/*")}
    told = run_with("--extend", "a", "--trials", "1", "--space", "losses+optimizers")
    assert "extended: 2 trials are there; 1 more from losses+optimizers" in told
    assert [len(folder.curve()) for folder in run.trials()] == [2, 2, 2]
    assert {path: path.read_bytes() for path in before} == before
    assert set(run.trial(2).params()) > {"loss", "optimizer"}
    wider = ("--space", "losses+optimizers", "--trials", "1", "--epochs", "2")
    told = run_with("--name", "b", "--warm-start", "a", *wider, *SMALL)
    assert "warm start from a: 3 of 3 trials for the sampler (3 with all their values), 3 whole curves" in told
    warm, best = RunFolder(tmp_path / "runs" / "b"), run.best_trial()
    assert f"tried first: trials {best.number} of a" in told
    own, earlier = (TrialConfig.from_dict(each.config()) for each in (warm.trial(0), best))
    assert own.loss == earlier.loss
    assert own.optimizer["lr"] == earlier.optimizer["lr"]
    assert {path.name for path in warm.path.iterdir()} > {"priors.json", "search.json"}
