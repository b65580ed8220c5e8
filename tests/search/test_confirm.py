"""Finalists: who they are, what they lack, and a whole confirmation on real Ray."""

import subprocess
import sys

import pytest

from search.confirm import Finalist, find_finalists, missing
from search.machine import Machine
from search.plan import new_plan
from tests.conftest import ROOT, write_photos
from tests.search.test_run import SMALL, command
from trainable.artifacts import FAILED, FINISHED, INTERRUPTED, RUNNING, STOPPED, RunFolder, write_json
from trainable.bootstrap import mean_ious
from trainable.finalists import fold_models, pooled_confusion
from trainable.probabilities import Maps


@pytest.fixture
def plan():
    return new_plan({"folds": 4}, Machine(cores=2, gpus=0))


def add(run, number, state, value, lr=None):
    folder = run.trial(number)
    folder.path.mkdir(parents=True)
    folder.write_status(state)
    folder.write_curve([{"epoch": 1, "val_miou": value, "val_miou_full": value, "train_s": 1.0, "val_s": 1.0}])
    write_json(folder.path / "config.json", {"fold": 0, "optimizer": {"lr": lr or number}})
    folder.write_params({})
    return folder


def test_finished_trials_come_first_and_stopped_ones_train_their_own_fold_again(tmp_path, plan):
    run = RunFolder(tmp_path)
    for number, (state, value) in enumerate(
        ((FINISHED, 0.2), (STOPPED, 0.9), (FINISHED, 0.3), (FAILED, 0.95), (RUNNING, 0.99))
    ):
        add(run, number, state, value)
    found = find_finalists(run, plan, 3, 4, [])
    assert found == [Finalist(2, (1, 2, 3)), Finalist(0, (1, 2, 3)), Finalist(1, (0, 1, 2, 3))]
    assert find_finalists(run, plan, 1, 3, [0]) == [Finalist(2, (1, 2)), Finalist(0, (1, 2))]


def test_equal_configs_are_confirmed_once(tmp_path, plan):
    run = RunFolder(tmp_path)
    for number, value in enumerate((0.3, 0.2, 0.1)):
        add(run, number, FINISHED, value, lr=7 if number < 2 else 8)
    assert [each.number for each in find_finalists(run, plan, 2, 4, [])] == [0, 2]


@pytest.mark.parametrize(
    ("top", "folds", "include", "message"),
    [
        (9, 4, [], "--top 9 is more than the 1 different trials of run .* use at most 1"),
        (0, 4, [], "--top must be at least 1, found 0"),
        (1, 5, [], "--folds must be 2 to 4, the folds of run .*, found 5"),
        (1, 1, [], "--folds must be 2 to 4"),
        (1, 4, [6], "--include 6: no such trial that ended an epoch; there are 0"),
    ],
)
def test_errors_name_rule_and_value(tmp_path, plan, top, folds, include, message):
    run = RunFolder(tmp_path)
    add(run, 0, FINISHED, 0.2)
    with pytest.raises(ValueError, match=message):
        find_finalists(run, plan, top, folds, include)


def test_what_has_ended_is_not_trained_again(tmp_path):
    run = RunFolder(tmp_path)
    trial = add(run, 0, FINISHED, 0.2)
    for fold, state in ((1, FINISHED), (2, INTERRUPTED)):
        trial.further(fold).path.mkdir(parents=True)
        trial.further(fold).write_status(state)
    trial.further(2).write_curve([{"epoch": 1, "val_miou": 0.1}])
    tasks = missing(run, [Finalist(0, (1, 2, 3))])
    assert [(task["further"], task["resume"]) for task in tasks] == [(2, True), (3, False)]
    assert [task["config"]["fold"] for task in tasks] == [2, 3]


@pytest.mark.slow
def test_finalists_predict_every_photo_out_of_fold(tmp_path):
    data = tmp_path / "data"
    write_photos(data, count=30)
    options = ["--name", "a", "--trials", "3", "--epochs", "2", "--grace", "1", "--folds", "3", *SMALL]
    subprocess.run(command(tmp_path, data, *options), capture_output=True, check=True)
    run = RunFolder(tmp_path / "runs" / "a")
    confirm = [sys.executable, str(ROOT / "search" / "run.py"), "--confirm", "a", "--top", "2",
               "--runs-dir", str(tmp_path / "runs")]  # fmt: skip
    done = subprocess.run(confirm, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "Finalists: out-of-fold val_miou over folds 0, 1, 2, 30 photos" in done.stdout
    confirmed = [trial for trial in run.trials() if trial.further_folds()]
    assert len(confirmed) == 2
    for trial in confirmed:
        models = fold_models(trial)
        assert list(models) == [0, 1, 2]
        names, matrices = pooled_confusion(models)
        assert len(set(names)) == 30 and 0 < mean_ious(matrices)[0] <= 1
        assert all(folder.config()["fold"] == fold for fold, folder in models.items())
        assert all(len(folder.curve()) == 2 for folder in models.values())
        assert sum(len(Maps.open(folder.out_of_fold).row_of) for folder in models.values()) == 30
    again = subprocess.run(confirm, capture_output=True, text=True)
    assert again.returncode == 0 and "0 trainings to go" in again.stdout
    wrong = subprocess.run([*confirm, "--epochs", "3"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "--epochs is fixed by the run that --confirm continues" in " ".join(wrong.stderr.split())
