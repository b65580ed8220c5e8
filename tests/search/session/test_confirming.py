"""Finalists: who they are, what they lack, and a whole confirmation on real Ray."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import ray
from rich.console import Console

from search.cluster.gpu_packing import DoesNotFitError
from search.racing.candidates import find_finalists
from search.racing.race import Race, rungs_of
from search.racing.race_searcher import Racer
from search.session.confirming import again, begin, describe, needed
from search.settings.allocation import Machine, Resources
from search.settings.arguments import parse
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from tests.conftest import ROOT
from trainable.metric.bootstrap import mean_ious
from trainable.run_folder.fold_models import fold_models, pooled_confusion, trainings
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.out_of_fold import Maps
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, OOM, RUNNING, STOPPED
from trainable.storage.atomic_write import write_json


@pytest.fixture
def plan():
    return new_plan(Settings(folds=4), Machine(cores=2, gpus=0))


def add(run, number, state, value, lr=None):
    folder = run.trial(number)
    folder.path.mkdir(parents=True)
    folder.write_status(state)
    folder.write_curve([{"epoch": 1, "val_miou": value, "val_miou_full": value, "train_s": 1.0, "val_s": 1.0}])
    write_json(folder.path / "config.json", {"fold": 0, "seed": 5, "optimizer": {"lr": lr or number}})
    folder.write_params({})
    return folder


def train(folder, state=FINISHED, hits=0):
    """Leave a further training, or what a trial itself has trained."""
    folder.path.mkdir(parents=True, exist_ok=True)
    matrices = np.random.default_rng(0).integers(0, 9, (6, 11, 11)) + hits * np.eye(11, dtype=int)
    folder.write_confusion([f"{index}.jpg" for index in range(6)], matrices, matrices)
    folder.write_curve([{"epoch": 1, "val_miou": 0.1, "train_s": 20.0, "val_s": 10.0}])
    folder.write_status(state, ended=float(hits))


def test_finalists_are_those_that_are_to_end_best(tmp_path, plan):
    run = RunFolder(tmp_path)
    for number, (state, value) in enumerate(
        ((FINISHED, 0.2), (STOPPED, 0.9), (FINISHED, 0.3), (FAILED, 0.95), (RUNNING, 0.99))
    ):
        add(run, number, state, value)
    assert find_finalists(run, plan, 3, 4, []) == [1, 2, 0]
    assert find_finalists(run, plan, 1, 3, [0]) == [1, 0]


def test_a_stopped_trial_counts_by_its_forecast(tmp_path, plan):
    run, epochs = RunFolder(tmp_path), plan.config.epochs
    rising = [{"epoch": epoch, "val_miou": 0.4 * (epoch / epochs) ** 0.5} for epoch in range(1, epochs + 1)]
    for number in range(4):
        ended = [{**row, "val_miou": row["val_miou"] * (1 - 0.01 * number)} for row in rising]
        add(run, number, FINISHED, 0.4).write_curve(ended)
    add(run, 4, STOPPED, 0.0).write_curve([{**row, "val_miou": row["val_miou"] * 1.5} for row in rising[:4]])
    assert max(row["val_miou"] for row in run.trial(4).curve()) < 0.4
    assert find_finalists(run, plan, 1, 4, []) == [4]


def test_a_stopped_trial_counts_by_no_less_than_it_reached(tmp_path, plan):
    run, epochs = RunFolder(tmp_path), plan.config.epochs
    for number, end in enumerate((0.28, 0.33, 0.36)):
        rising = [{"epoch": epoch, "val_miou": end * epoch / epochs} for epoch in range(1, epochs + 1)]
        add(run, number, FINISHED, end).write_curve(rising)
    fell = [0.15, 0.25, 0.33, 0.38, 0.40, 0.10]
    add(run, 3, STOPPED, 0.0).write_curve([{"epoch": epoch, "val_miou": value} for epoch, value in enumerate(fell, 1)])
    assert find_finalists(run, plan, 4, 4, []) == [3, 2, 1, 0]


def test_equal_configs_are_confirmed_once(tmp_path, plan):
    run = RunFolder(tmp_path)
    for number, value in enumerate((0.3, 0.2, 0.1)):
        add(run, number, FINISHED, value, lr=7 if number < 2 else 8)
    assert find_finalists(run, plan, 2, 4, []) == [0, 2]


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


def racer(run, numbers, seeds=1, folds=3):
    return Racer(run, Race(numbers, rungs_of(range(folds), 0, seeds)), Console())


def test_what_has_ended_is_not_trained_again_and_what_was_begun_goes_on(tmp_path):
    run = RunFolder(tmp_path)
    trial = add(run, 0, FINISHED, 0.2)
    train(trial)
    train(trial.further(1))
    train(trial.further(2), INTERRUPTED)
    train(add(run, 1, STOPPED, 0.1), STOPPED)  # its own fold was not trained to the end
    found = racer(run, [0, 1])
    assert found.race.left() == [(1, (1, 0)), (0, (2, 0)), (1, (2, 0)), (1, (0, 0))]
    tasks = [found.suggest(f"t{index}") for index in range(4)]
    assert [(task["number"], task["further"], task["resume"]) for task in tasks] == [
        (1, 1, False),
        (0, 2, True),
        (1, 2, False),
        (1, 0, False),
    ]
    assert all(task["config"]["fold"] == task["further"] and task["config"]["seed"] == 5 for task in tasks)
    assert found.suggest("t4") is None  # what runs may still bring more
    for index in range(4):
        found.on_trial_complete(f"t{index}")
    for number, fold in ((1, 1), (0, 2), (1, 2), (1, 0)):
        train(run.trial(number).further(fold))
    assert found.suggest("t5") == "FINISHED"


def test_further_seeds_have_a_folder_and_a_seed_of_their_own(tmp_path):
    run = RunFolder(tmp_path)
    for number in (0, 1):
        train(add(run, number, FINISHED, 0.2))
        for fold in (1, 2):
            train(run.trial(number).further(fold))
    found = racer(run, [0, 1], seeds=2)
    task = found.suggest("t0")
    assert (task["number"], task["further"], task["seed"], task["config"]["seed"]) == (0, 1, 6, 6)
    folder = run.trial(0).further(1, 6)
    assert folder.path.name == "1-seed6" and folder.number == 0 and folder.fold_and_seed == (1, 6)
    train(folder, hits=50)
    assert set(trainings(run.trial(0))) == {(0, 0), (1, 0), (2, 0), (1, 1)}
    # Each photo is predicted by one model, that of the first seed.
    assert {fold: each.path.name for fold, each in fold_models(run.trial(0)).items()} == {0: "0000", 1: "1", 2: "2"}
    assert (1, (1, 1)) in found.race.left() and (0, (1, 1)) not in racer(run, [0, 1], seeds=2).race.left()


def test_trainings_are_packed_as_trials_are(tmp_path, tiny_config):
    class Shares:
        def holds(self, live):
            return live == 2

        def share(self, config):
            if config.optimizer["lr"] > 2:
                raise DoesNotFitError("too large")
            return 0.25

    run = RunFolder(tmp_path)
    for number in (0, 1):
        train(add(run, number, FINISHED, 0.2))
        config = {**tiny_config.to_dict(), "fold": 0, "optimizer": {"name": "adam", "lr": 1.0 + 2 * number}}
        write_json(run.trial(number).path / "config.json", config)
    found = Racer(run, Race([0, 1], rungs_of(range(2), 0, 1)), Console(), Shares())
    assert [found.suggest(f"t{index}")["gpus"] for index in range(2)] == [0.25, 1.0]  # it did fit
    assert found.suggest("t2") is None and len(found.live) == 2  # until it is measured what one does alone


def test_tune_can_snapshot_a_racer_that_holds_a_console(tmp_path):
    train(add(RunFolder(tmp_path), 0, FINISHED, 0.2))
    assert ray.cloudpickle.dumps(racer(RunFolder(tmp_path), [0]))


def test_damaged_trial_is_mended_by_a_resume_before_it_is_confirmed(tmp_path, plan):
    run = RunFolder(tmp_path)
    for number in (0, 1):
        train(add(run, number, FINISHED, 0.2))
    run.trial(1).curve_file.write_text("epoch,val_miou\n1,")
    with pytest.raises(ValueError, match=f"trial 1 of run {run.path.name} is damaged.*--resume {run.path.name} mends"):
        find_finalists(run, plan, 2, 4, [])


def test_one_whose_training_failed_is_out(tmp_path):
    run = RunFolder(tmp_path)
    for number in (0, 1, 2):
        train(add(run, number, FINISHED, 0.2))
    train(run.trial(1).further(1), OOM)
    assert {number for number, _ in racer(run, [0, 1, 2]).race.left()} == {0, 2}


def test_options_decide_folds_seeds_and_whether_there_is_a_race(tmp_path, plan):
    run, share = RunFolder(tmp_path), Resources(2, 1, 0, "")
    for number in (0, 1):
        train(add(run, number, FINISHED, 0.2))

    def begun(line=""):
        return begin(parse(["--confirm", "a", "--top", "2", *line.split()]), run, plan, share)

    assert begun().race.rungs == [(1, 0), (2, 0), (3, 0), (0, 0)] and begun().race.drop
    assert len(begun("--until 2h").race.rungs) == 4 * 5 and len(begun("--until 2h --no-race").race.rungs) == 4
    assert len(begun("--seeds 2 --folds 2").race.rungs) == 4
    assert "on 4 of 4 folds; at most 8 trainings to go; one shown to be worse" in describe(begun())
    assert "on 4 of 4 folds x 2 seeds; 16 trainings to go" in describe(begun("--seeds 2 --no-race"))
    with pytest.raises(ValueError, match="--seeds must be at least 1, found 0"):
        begun("--seeds 0")
    for line in ("--seeds 2", "--no-race"):
        with pytest.raises(ValueError, match=f"{line.split()[0]} belongs to --confirm NAME"):
            parse(line.split())
    command = again(run, parse(["--confirm", "a", "--top", "2", "--until", "2h", "--include", "1", "--no-race"]), 5)
    assert command.endswith(f"--runs-dir {run.path.parent} --top 2 --seeds 5 --no-race --include 1")


def test_what_a_training_needs_is_what_its_config_s_last_one_took(tmp_path, plan):
    run, share, epochs = RunFolder(tmp_path), Resources(2, 1, 0, ""), plan.config.epochs
    for number in (0, 1):
        train(add(run, number, FINISHED, 0.2))
    final = begin(Settings(until="2h", top=2), run, plan, share)
    one = needed(final, share, [(0, (1, 0))])
    assert one == pytest.approx(1.1 * 30 * epochs)
    assert needed(final, share, [(0, (1, 0)), (1, (1, 0))]) == one
    assert needed(final, share, [(0, (1, 0)), (1, (1, 0)), (0, (2, 0))]) == 2 * one
    train(run.trial(0).further(1), hits=9)  # the last that ended, and quicker
    run.trial(0).further(1).write_curve([{"epoch": 1, "val_miou": 0.1, "train_s": 2.0, "val_s": 1.0}])
    assert needed(final, share, [(0, (2, 0))]) == pytest.approx(one / 10)


@pytest.mark.slow
def test_finalists_predict_every_photo_out_of_fold(tmp_path, ended_search):
    shutil.copytree(ended_search[1].path, tmp_path / "runs" / "a")
    run = RunFolder(tmp_path / "runs" / "a")
    confirm = [
        sys.executable,
        str(ROOT / "search" / "run.py"),
        "--confirm",
        "a",
        "--top",
        "2",
        "--runs-dir",
        str(tmp_path / "runs"),
    ]

    def confirmed(*more):
        done = subprocess.run([*confirm, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "Finalists: out-of-fold val_miou over folds 0, 1, 2, 30 photos" in done.stdout
        return done.stdout, [fold_models(trial) for trial in run.trials() if trial.further_folds()]

    out, raced = confirmed()
    assert len(raced) == 2 and "on 30 photos x 1 seed" in out and "core-hours: " in out and "confirmed" in out
    assert ("are indistinguishable" in out) != ("is the best" in out)
    assert "is the best" in out or all(len(models) == 3 for models in raced)
    assert ("is the best" in out) == ("is out after fold" in out)
    out, every = confirmed("--no-race")
    assert len(every) == 2 and "at most" not in out
    for models in [*every, max(raced, key=len)]:
        assert list(models) == [0, 1, 2]
        names, matrices = pooled_confusion(models)
        assert len(set(names)) == 30 and 0 < mean_ious(matrices)[0] <= 1
        assert all(folder.config()["fold"] == fold for fold, folder in models.items())
        assert all(len(folder.curve()) == 4 for folder in models.values())
        assert sum(len(Maps.open(folder.out_of_fold).row_of) for folder in models.values()) == 30
    assert "0 trainings to go" in confirmed("--no-race")[0]
    wrong = subprocess.run([*confirm, "--epochs", "3"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "--epochs is fixed by the run that --confirm continues" in " ".join(wrong.stderr.split())
