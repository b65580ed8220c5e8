"""The budget of checkpoints: what is dropped, in which order, and what never is."""

import pytest
from rich.console import Console

from search.callbacks.checkpoint_budget import KeepWithin, checkpoint_bytes, use_of
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, RUNNING, STOPPED

KB = 1000


def add(run, number, state, value, size=10 * KB):
    folder = run.trial(number)
    folder.path.mkdir(parents=True)
    folder.write_status(state)
    folder.write_curve([{"epoch": 1, "val_miou": value}])
    for path, share in ((folder.best_weights, 0.3), (folder.last_state, 0.6), (folder.out_of_fold, 0.1)):
        path.write_bytes(b"x" * int(size * share))
    return folder


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def drop(run, budget):
    console = Console(record=True, width=200)
    KeepWithin(run, budget, console).drop()
    return console.export_text()


def whole(folder):
    return folder.best_weights.exists() and folder.out_of_fold.exists()


def test_states_go_first_then_the_worst_trials(run):
    worst, middle, best = (add(run, number, FINISHED, value) for number, value in enumerate((0.1, 0.2, 0.3)))
    assert drop(run, 40 * KB) == "" and all(each.last_state.exists() for each in (worst, middle, best))
    drop(run, 30 * KB)
    assert not worst.last_state.exists() and not middle.last_state.exists() and best.last_state.exists()
    assert whole(worst)
    drop(run, 18 * KB)
    assert not whole(worst) and whole(middle) and whole(best)
    assert not list(run.path.rglob("last.safetensors"))


def test_trials_that_have_not_ended_are_never_touched(run):
    running, cut = add(run, 0, RUNNING, 0.0), add(run, 1, INTERRUPTED, 0.0)
    best = add(run, 2, STOPPED, 0.3)
    told = drop(run, 1)
    assert all(checkpoint_bytes(each) == 10 * KB for each in (running, cut))
    assert whole(best) and not best.last_state.exists()
    assert "--keep-gb 1e-09 is less than" in told


def test_a_failed_trial_goes_before_sound_ones(run):
    failed, sound = add(run, 0, FAILED, 0.05), add(run, 1, FINISHED, 0.2)
    drop(run, 14 * KB)
    assert not whole(failed) and whole(sound)


def test_a_failed_trial_is_never_the_one_that_is_kept(run):
    failed, sound = add(run, 0, FAILED, 0.9), add(run, 1, FINISHED, 0.2)
    drop(run, 14 * KB)
    assert not whole(failed) and whole(sound)


def test_finalists_outlive_trials_of_one_fold_and_the_best_keeps_all_its_folds(run):
    lone, finalist = add(run, 0, FINISHED, 0.3), add(run, 1, FINISHED, 0.2)
    for fold in (1, 2):
        folder = finalist.further(fold)
        folder.path.mkdir(parents=True)
        folder.write_status(FINISHED)
        folder.best_weights.write_bytes(b"x" * 3 * KB)
        folder.out_of_fold.write_bytes(b"x" * KB)
    drop(run, 22 * KB)
    assert not whole(lone) and whole(finalist)
    drop(run, 1)
    assert whole(finalist) and all(whole(each) for each in finalist.further_folds())


def test_further_folds_go_with_their_trial(run):
    poor, good = add(run, 0, FINISHED, 0.1), add(run, 1, FINISHED, 0.3)
    for trial, value in ((poor, 0.9), (good, 0.1)):  # folds differ; the trial's own value ranks
        folder = trial.further(1)
        folder.path.mkdir(parents=True)
        folder.write_status(FINISHED)
        folder.write_curve([{"epoch": 1, "val_miou": value}])
        folder.best_weights.write_bytes(b"x" * 3 * KB)
    drop(run, 17 * KB)
    assert not poor.further(1).best_weights.exists() and good.further(1).best_weights.exists()


def test_weights_of_further_seeds_go_before_those_an_ensemble_uses(run):
    poor, good = add(run, 0, FINISHED, 0.1), add(run, 1, FINISHED, 0.3)
    for folder in (poor.further(1), good.further(1, 7), good.further(1, 8)):
        folder.path.mkdir(parents=True)
        folder.write_status(FINISHED)
        folder.write_curve([{"epoch": 1, "val_miou": 0.1}])
        folder.best_weights.write_bytes(b"x" * 3 * KB)
    drop(run, 17 * KB)
    assert not good.further(1, 7).best_weights.exists() and poor.further(1).best_weights.exists() and whole(poor)
    assert use_of(poor) > use_of(good)  # by its folds; further seeds are none


def test_a_hundred_trials_stay_within_the_budget_at_every_moment(run):
    """Two at a time, each with a checkpoint of 30 kB, in 600 kB."""
    budget, size, live = 600 * KB, 30 * KB, []
    keeper = KeepWithin(run, budget, Console(quiet=True))
    for number in range(100):
        live.append(add(run, number, RUNNING, (number * 37 % 100) / 100, size))
        assert sum(checkpoint_bytes(folder) for folder in run.trials()) <= budget
        keeper.drop()
        if len(live) == 2:
            live.pop(0).write_status(FINISHED)
            keeper.drop()
    kept = [max(row["val_miou"] for row in folder.curve()) for folder in run.trials() if whole(folder)]
    assert 0.99 in kept and len(kept) > 15
    assert sorted(kept)[-10:] == [each / 100 for each in range(90, 100)]


def test_a_budget_below_nothing_is_refused():
    with pytest.raises(ValueError, match="--keep-gb is disk space in GB, above 0, found 0"):
        new_plan(Settings(keep_gb=0.0), Machine(cores=2, gpus=0))
