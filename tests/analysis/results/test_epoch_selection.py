import json

import numpy as np
import pytest

from analysis.results.epoch_selection import choose, smooth
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INVALID, OOM, RUNNING, STOPPED
from trainable.storage.atomic_write import write_json


def write_training(folder, val_mious, *, fold, state=FINISHED, budget=10, hits=50):
    """Write what a training of a budget leaves, of which `hits` % of the pixels are right."""
    folder.path.mkdir(parents=True)
    write_json(folder.path / "config.json", {"fold": fold, "epochs": budget})
    folder.write_status(state, "its end was forecast below" if state == STOPPED else "")
    folder.write_curve([{"epoch": epoch, "val_miou": value} for epoch, value in enumerate(val_mious, start=1)])
    matrices = np.array([[[hits, 100 - hits], [100 - hits, hits]]] * 2)
    folder.write_confusion([f"{fold}/a.jpg", f"{fold}/b.jpg"], matrices, matrices)


RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.6, 0.5, 0.4]


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path)
    for number, hits in enumerate((60, 70, 65)):
        write_training(run.trial(number), RISING, fold=0, hits=hits)
    return run


def test_best_trial_and_the_epoch_of_its_highest_mean(run):
    chosen = choose(run)
    assert (chosen.trial.number, chosen.folds, chosen.epochs) == (1, (0,), 7)
    assert "the best of 3 trials trained on fold 0" in chosen.why
    assert choose(run, 2).trial.number == 2


def test_trials_on_more_folds_come_first_and_count_over_all_their_photos(run):
    for number, hits in ((0, 90), (2, 66)):
        later = [0.0, *RISING[:-1]]
        write_training(run.trial(number).further(1), later, fold=1, hits=hits)
    chosen = choose(run)
    assert (chosen.trial.number, chosen.folds) == (0, (0, 1))
    np.testing.assert_allclose(chosen.curve, np.mean([RISING, [0.0, *RISING[:-1]]], axis=0))
    assert chosen.curve[6] == chosen.curve[7]  # best after 7 epochs on one fold, after 8 on the other


def test_lucky_epoch_does_not_decide(run):
    lucky = [0.9 if at == 1 else value for at, value in enumerate(RISING)]
    run.trial(1).write_curve([{"epoch": epoch, "val_miou": value} for epoch, value in enumerate(lucky, start=1)])
    chosen = choose(run)
    assert np.argmax(chosen.curve) == 1
    assert chosen.epochs == 7


def test_smoothing_keeps_level_curves_and_the_place_of_a_peak():
    np.testing.assert_allclose(smooth([0.3] * 7, 7), 0.3)
    wide = 1 - np.abs(np.arange(200) - 120) / 200
    assert np.argmax(smooth(wide, 200)) == 120
    assert np.argmax(smooth(np.arange(12.0), 12)) == 11
    np.testing.assert_allclose(smooth([0.2, 0.4, 0.1], 3), [0.8 / 3, 1.1 / 4, 0.6 / 3])
    assert smooth([0.5], 1).tolist() == [0.5]
    one = np.eye(50)[25]
    assert np.count_nonzero(smooth(one, 50)) == 3
    assert np.count_nonzero(smooth(one, 150)) == 9  # of a trial that was stopped after a third of its budget


def test_best_trial_may_be_one_that_was_stopped(run):
    write_training(run.trial(3), [0.1, 0.5, 0.8, 0.4], fold=0, state=STOPPED, hits=99)
    chosen = choose(run)
    assert (chosen.trial.number, chosen.epochs, chosen.curve) == (3, 3, (0.1, 0.5, 0.8, 0.4))
    assert "the best of 4 trials trained on fold 0" in chosen.why
    assert "stopped after 4 of 10 epochs (its end was forecast below)" in chosen.why
    assert choose(run, 1).epochs == 7
    write_training(run.trial(3).further(0), RISING, fold=0, hits=98)  # its own fold, to the end
    chosen = choose(run)
    assert (chosen.trial.number, chosen.epochs) == (3, 7)
    assert "stopped" not in chosen.why


def test_epochs_of_a_stopped_trial_that_was_confirmed_are_those_of_its_full_trainings(run):
    write_training(run.trial(3), RISING[:4], fold=0, state=STOPPED, hits=99)
    write_training(run.trial(3).further(1), RISING, fold=1, hits=99)
    chosen = choose(run)
    assert (chosen.trial.number, chosen.folds, chosen.epochs) == (3, (1,), 7)


@pytest.mark.parametrize("state", [FAILED, INVALID, OOM])
def test_trial_without_a_rank_is_not_the_best(run, state):
    write_training(run.trial(3), RISING, fold=0, state=state, hits=99)
    assert choose(run).trial.number == 1
    assert run.best_trial().number != 3
    with pytest.raises(ValueError, match=r"trial 3 of .* has no training to go by; those that have: 0, 1, 2"):
        choose(run, 3)


def test_trial_that_is_still_training_and_ahead_is_told(run):
    write_training(run.trial(3), [0.9], fold=0, state=RUNNING, hits=99)
    chosen = choose(run)
    assert chosen.trial.number == 1
    assert "of those that have ended; trial 3 is still training and has 0.9000" in chosen.why


def test_finalists_that_cannot_be_told_apart_are_not_called_the_best(run):
    for number, hits in ((0, 66), (1, 66)):
        write_training(run.trial(number).further(1), RISING, fold=1, hits=hits)
    chosen = choose(run)
    assert chosen.trial.number == 1
    assert "trials 1 and 0 are indistinguishable" in chosen.why
    assert "the best" not in chosen.why


def test_nothing_finished_and_damaged_files(run, tmp_path):
    with pytest.raises(ValueError, match=r"no trial of .* has ended an epoch: go on with the search"):
        choose(RunFolder(tmp_path / "none"))
    path = run.trial(1).path / "curve.csv"
    whole = path.read_text()
    for damage in (whole[:40], whole.replace("0.7", "nan"), whole.replace("0.7", "x"), "", "epoch\n1\n"):
        path.write_text(damage)
        with pytest.raises(ValueError, match=r"trials/0001/curve.csv (is damaged|should have epochs 1 to 10)"):
            choose(run)
    (run.trial(0).path / "confusion.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"confusion.npz in .*/0000 cannot be read .*name a --trial"):
        choose(run)
    assert json.loads((run.trial(2).path / "config.json").read_text())["epochs"] == 10
    assert choose(run, 2).epochs == 7
