import json
import math

import numpy as np
import pytest
import torch

from trainable.engine.checkpoint import load_tensors, save_tensors
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import write_bytes, write_json


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"value": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"other")
    assert json.loads(path.read_text()) == {"value": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", math.nan)
    assert list(tmp_path.iterdir()) == []


def test_trial_folder_gives_back_what_was_written(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.trial(7)
    folder.path.mkdir(parents=True)
    folder.write_status(FINISHED, "all 2 epochs", epochs=2)
    rows = [
        {"epoch": 1, "val_miou": 0.1 + 0.2, "iou_Battery": math.nan},
        {"epoch": 2, "val_miou": 1e-17, "iou_Battery": 0.0},
    ]
    folder.write_curve(rows)
    read = folder.curve()
    assert math.isnan(read[0].pop("iou_Battery"))
    assert read[0] == {"epoch": 1, "val_miou": 0.1 + 0.2}
    assert read[1] == rows[1]
    matrices = np.arange(2 * 11 * 11).reshape(2, 11, 11)
    folder.write_confusion(["a.jpg", "b.jpg"], matrices, matrices + 1)
    confusion = folder.confusion()
    assert confusion["file_names"].tolist() == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(confusion["full"], matrices + 1)
    assert [trial.number for trial in run.trials()] == [7]
    assert run.best_trial() == folder
    assert folder.status().state == FINISHED


def test_best_trial_needs_an_epoch(tmp_path):
    with pytest.raises(ValueError, match="has ended an epoch"):
        RunFolder(tmp_path).best_trial()


def test_notes_are_written_only_where_there_are_some(tmp_path):
    folder = RunFolder(tmp_path).trial(1)
    folder.path.mkdir(parents=True)
    folder.write_notes([])
    assert folder.notes() == []
    assert list(folder.path.iterdir()) == []
    folder.write_notes(["memory ran short"])
    assert folder.notes() == ["memory ran short"]


def test_damaged_checkpoint_is_named(tmp_path):
    save_tensors(tmp_path / "a", {"x": torch.ones(100)})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"a is damaged .* delete the trial's folder"):
        load_tensors(tmp_path / "a")


def test_curve_of_a_run_that_an_earlier_version_began_goes_on(tmp_path):
    folder = TrialFolder(tmp_path)
    folder.path.mkdir(exist_ok=True)
    folder.write_curve([{"epoch": 1, "val_miou": 0.5}, {"epoch": 2, "val_miou": 0.6, "recomputed": 1.0}])
    first, second = folder.curve()
    assert math.isnan(first["recomputed"]) and second == {"epoch": 2, "val_miou": 0.6, "recomputed": 1.0}


@pytest.mark.parametrize(("name", "is_one"), [
    ("0000", True), ("0003", True), ("9999", True), ("10000", True), ("00003", False), ("3", False), ("00000", False),
])  # fmt: skip
def test_trial_has_one_folder_name(tmp_path, name, is_one):
    folder = tmp_path / "trials" / name
    folder.mkdir(parents=True)
    assert [each.path for each in RunFolder(tmp_path).begun()] == [folder] * is_one
    assert RunFolder(tmp_path).ignored() == [folder] * (not is_one)
    assert (RunFolder(tmp_path).trial(int(name)).path == folder) == is_one


@pytest.mark.parametrize(("name", "is_one"), [
    ("0", True), ("10", True), ("1-seed0", True), ("1-seed7", True), ("01", False), ("1-seed07", False), ("00", False),
])  # fmt: skip
def test_further_training_has_one_folder_name(tmp_path, name, is_one):
    folder = RunFolder(tmp_path).trial(0).path / "folds" / name
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    assert [each.path for each in RunFolder(tmp_path).trial(0).further_folds()] == [folder] * is_one
    assert RunFolder(tmp_path).ignored() == [folder] * (not is_one)
