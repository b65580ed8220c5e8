"""Runs from Python."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from analysis.api import open_run
from analysis.prediction.submission import read_submission
from tests.conftest import ROOT


@pytest.fixture
def run(searched):
    return open_run(searched.path)


def test_the_leaderboard_is_a_frame_with_the_best_first(run, searched):
    frame = run.leaderboard()
    assert list(frame.columns[:4]) == ["rank", "group", "trial", "val_miou"]
    values = frame["val_miou"].dropna()
    assert len(frame) == len(searched.trials()) and values.is_monotonic_decreasing
    assert (frame["val_miou_low"].dropna() <= values).all()
    best = searched.best_trial()
    assert frame.iloc[0]["trial"] == best.number and frame.iloc[0]["param_lr"] == best.params()["lr"]


def test_curves_have_a_row_for_each_epoch(run, searched):
    frame = run.curves()
    assert len(frame) == sum(len(trial.curve()) for trial in searched.trials())
    assert {"trial", "epoch", "val_miou", "train_loss"} <= set(frame.columns)


def test_out_of_fold_predictions_are_arrays_of_the_photos_asked_for(run):
    found = run.out_of_fold()
    maps = found.probabilities(found.file_names[1::-1])
    assert maps.dtype == np.uint8 and maps.shape[:2] == (2, 11)
    np.testing.assert_array_equal(maps[1], found.probabilities(found.file_names[:1])[0])
    with pytest.raises(ValueError, match=r"nowhere\.jpg is no photo that the trial validated on"):
        found.probabilities(["nowhere.jpg"])


def test_what_is_no_run_or_trial_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="is no run folder"):
        open_run(tmp_path)
    with pytest.raises(ValueError, match="name at least one"):
        open_run()
    with pytest.raises(ValueError, match="has no trial 99"):
        run.trial(99)


def test_a_photo_is_predicted_at_its_own_size(run, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    found = run.predict(tmp_path / "a.png")
    assert found.classes.shape == (256, 256) and found.mask().shape == (40, 60) and found.overlay().shape == (40, 60, 3)
    assert sum(found.shares().values()) == pytest.approx(1)
    found.save(tmp_path / "mask.png")
    assert Image.open(tmp_path / "mask.png").width > 100


def test_reading_figures_imports_neither_ray_nor_pytorch(searched):
    code = (
        "import sys; from analysis.api import open_run; run = open_run(sys.argv[1]); run.leaderboard(); run.curves();"
        "sys.exit(bool({'ray', 'torch', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(searched.path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_from_a_run_to_a_submission(searched, tmp_path):
    run = open_run(searched.path)
    assert run.ensemble(crf_options=0).voters
    data = tmp_path / "data"
    (data / "batch_09").mkdir(parents=True)
    Image.new("RGB", (32, 32), "green").save(data / "batch_09" / "0001.jpg")
    image = {"id": 0, "file_name": "batch_09/0001.jpg", "height": 32, "width": 32}
    (data / "test.json").write_text(json.dumps({"images": [image]}))
    written = run.submission(tmp_path / "submission.csv", data=data)
    assert list(dict(read_submission(written))) == ["batch_09/0001.jpg"]
