import json
from dataclasses import replace

import pytest

from analysis import refit as refit_module
from analysis.prediction.networks import load_model
from analysis.refit import main
from tests.conftest import SIDE, write_photos
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.fold import train_fold
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, STOPPED
from trainable.storage.atomic_write import write_json


@pytest.fixture
def run(photos, tiny_config, tmp_path):
    """A run of one finished trial, which did best after two of its three epochs."""
    dataset = read_training(photos)
    cache = build_cache(dataset, SIDE, tmp_path / "cache")[0]
    folds = make_folds(cache, 2, 0)
    run = RunFolder(tmp_path / "runs" / "a")
    run.trial(0).path.mkdir(parents=True)
    folds.write(run.folds)
    plan = {
        "data": str(photos),
        "cache_dir": str(tmp_path / "cache"),
        "skip_bad": False,
        "extra": None,
        "trials": 1,
        "base": tiny_config.to_dict(),
    }
    write_json(run.path / "search.json", {"plan": plan, "data_hash": dataset.json_hash})
    folder = run.trial(0)
    config = replace(tiny_config, scheduler={"name": "plateau", "patience": 0.3})
    train_fold(config, FoldData.of(cache, folds, 0), folder, lambda row: None)
    folder.write_status(FINISHED)
    curve = [{**row, "val_miou": value} for row, value in zip(folder.curve(), (0.2, 0.4, 0.1), strict=True)]
    folder.write_curve(curve)
    return run


def arguments(run, *more):
    return ["--run", str(run.path), *map(str, more)]


def test_trains_on_all_photos_for_the_epochs_of_the_cross_validation(run, capsys):
    assert main(arguments(run)) == 0
    folder = run.refit
    written = json.loads((folder.path / "refit.json").read_text())
    assert (written["trial"], written["folds"], written["val_miou"]) == (0, [0], [0.2, 0.4, 0.1])
    assert written["epochs"] == len(folder.curve()) == 2
    assert folder.config() == {**run.trial(0).config(), "fold": -1}  # the schedule spans the full budget
    assert folder.status().state == FINISHED
    assert "val_miou" not in folder.curve()[0]
    assert "trial 0 on all 10 photos" in capsys.readouterr().out
    assert load_model(folder) is not None
    assert [each.number for each in run.trials()] == [0]  # it is none of the search's


def test_best_trial_that_was_stopped_trains_as_far_as_it_is_known(run, capsys):
    folder = run.trial(0)
    folder.write_curve(folder.curve()[:2])
    folder.write_status(STOPPED, "its end was forecast to be 0.2")
    assert main(arguments(run)) == 0
    assert len(run.refit.curve()) == 2
    assert run.refit.config()["epochs"] == 3  # the schedule's
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "the only trial trained on fold 0",
        "stopped after 2 of 3 epochs (its end was forecast to be 0.2)",
        "2 of 3 epochs: val_miou is best there of the 2 that the trial trained",
        "it was still rising, and what comes after epoch 2 is not known",
        "python search/run.py --confirm a --top 0 --include 0",
    ):
        assert part in told


def test_schedule_goes_by_the_mean_curve_and_every_photo_trains(run, monkeypatch):
    seen = []
    real = FoldTraining.epoch

    def epoch(self, number, val_mious, folder):
        seen.append((number, list(val_mious), len(self.data.train), len(self.data.val)))
        return real(self, number, val_mious, folder)

    monkeypatch.setattr(FoldTraining, "epoch", epoch)
    monkeypatch.setattr(
        refit_module.Refit,
        "of",
        classmethod(lambda cls, chosen, extra: cls(0, [0], [0.2, 0.4, 0.5], [0.2, 0.4, 0.5], 3, "", None, None)),
    )
    assert main(arguments(run)) == 0
    assert seen == [(1, [], 10, 0), (2, [0.2], 10, 0), (3, [0.2, 0.4], 10, 0)]


def test_ctrl_c_leaves_what_the_printed_command_goes_on_from(run, monkeypatch, capsys):
    folder = run.trial(0)
    rows = folder.curve()
    folder.write_curve([{**row, "val_miou": row["epoch"] / 10} for row in rows])  # all three epochs
    real = FoldTraining.epoch

    def epoch(self, number, val_mious, folder):
        if number == 2:
            raise KeyboardInterrupt
        return real(self, number, val_mious, folder)

    with monkeypatch.context() as patch:
        patch.setattr(FoldTraining, "epoch", epoch)
        assert main(arguments(run)) == 130
    assert run.refit.status().state == INTERRUPTED
    assert f"analysis/refit.py --run {run.path} --resume" in capsys.readouterr().out
    assert main(arguments(run)) == 2
    assert "exists; go on with it by --resume" in capsys.readouterr().err
    assert main(arguments(run, "--resume", "--trial", 3)) == 2
    assert "goes on with trial 0's config, found --trial 3" in capsys.readouterr().err
    folder.write_curve(rows)  # what was chosen stays chosen
    assert main(arguments(run, "--resume")) == 0
    cut = run.refit.best_weights.read_bytes()
    run.refit.path.rename(run.path / "cut")
    folder.write_curve([{**row, "val_miou": row["epoch"] / 10} for row in rows])
    assert main(arguments(run)) == 0
    assert run.refit.best_weights.read_bytes() == cut


def test_further_photos_train_too(run, tmp_path, capsys):
    write_photos(tmp_path / "extra", count=6, seed=8)
    assert main(arguments(run, "--extra", tmp_path / "extra")) == 0
    assert "on all 16 photos" in capsys.readouterr().out
    (tmp_path / "extra" / "train_all.json").write_text((tmp_path / "data" / "train_all.json").read_text())
    assert main(arguments(run, "--resume")) == 2
    assert "are not those that" in capsys.readouterr().err


def test_errors_name_what_to_do(run, photos, tmp_path, capsys):
    def error(*more):
        assert main([str(each) for each in more]) == 2
        return capsys.readouterr().err

    assert "is no run folder" in error("--run", tmp_path / "none")
    assert "has no training to go on with" in error("--run", run.path, "--resume")
    assert "trial 7 of" in error("--run", run.path, "--trial", 7)
    content = (photos / "train_all.json").read_text()
    (photos / "train_all.json").write_text(content + " ")
    assert "are not those of the run" in error("--run", run.path)
    assert not run.refit.path.exists()
    run.trial(0).write_status(FAILED)
    assert "no trial of" in error("--run", run.path)
