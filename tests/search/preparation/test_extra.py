"""Further training photos in a search."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from rich.console import Console

from search.preparation.data_setup import create, prepare, setting_of
from search.preparation.stored_plan import stored_plan
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.worker.trial_runner import _extra
from tests.conftest import ROOT, SIDE, write_photos
from trainable.coco.reader import read_training
from trainable.dataset.concat import LeakError
from trainable.run_folder.folders import RunFolder


@pytest.fixture
def extra(tmp_path):
    write_photos(tmp_path / "extra", count=6, seed=8)
    return tmp_path / "extra"


@pytest.fixture
def options(photos, extra, tmp_path):
    return {"data": photos, "extra": extra, "image_size": SIDE, "folds": 2, "cache_dir": tmp_path / "cache"}


def prepared(options, run, resume=False):
    plan = new_plan(Settings(**options), Machine(cores=2, gpus=0))
    console = Console(record=True, width=150)
    found = prepare(plan, run, read_training(options["data"]), resume, console)
    return plan, found, console.export_text()


def test_run_records_further_photos_and_trials_get_them(options, extra, tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    plan, found, text = prepared(options, run)
    assert "6 extra photos train too (labelled)" in text
    create(plan, run, found)
    assert run.search()["plan"]["extra"] == str(extra)
    assert run.search()["extra"] == {"hash": found.extra.hash, "pseudo": {}}
    setting = setting_of(plan, run, found)
    assert (
        _extra(setting, plan.config, found.folds, found.caches[SIDE]).file_names
        == found.data[SIDE].cache.file_names[:6]
    )
    assert stored_plan(run, Settings(extra=tmp_path)).extra == str(tmp_path)


def test_resume_refuses_other_further_photos(options, extra, tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    plan, found, _ = prepared(options, run)
    create(plan, run, found)
    prepared(options, run, resume=True)
    content = json.loads((extra / "train_all.json").read_text())
    (extra / "train_all.json").write_text(json.dumps({**content, "annotations": content["annotations"][1:]}))
    with pytest.raises(ValueError, match=r"run a began with other extra photos: those of hash .*restore the folder"):
        prepared(options, run, resume=True)
    with pytest.raises(ValueError, match=r"--extra now gives none"):
        prepared({name: value for name, value in options.items() if name != "extra"}, run, resume=True)


def test_run_of_an_earlier_version_had_no_further_photos(options, tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    del options["extra"]
    plan, found, _ = prepared(options, run)
    create(plan, run, found)
    assert run.search()["extra"] is None
    stored = {name: value for name, value in asdict(plan).items() if name != "extra"}
    (run.path / "search.json").write_text(json.dumps({**run.search(), "plan": stored}))
    assert stored_plan(run) == plan


def test_labelled_photo_among_them_stops_the_run_before_it_begins(options, extra, tmp_path):
    (extra / "batch_01_vt" / "0002.jpg").write_bytes((options["data"] / "batch_01_vt" / "0004.jpg").read_bytes())
    with pytest.raises(LeakError, match=r"0002.jpg is batch_01_vt/0004.jpg"):
        prepared(options, RunFolder(tmp_path / "runs" / "a"))
    _, _, text = prepared({**options, "skip_bad": True}, RunFolder(tmp_path / "runs" / "a"))
    assert "5 extra photos train too (labelled), 1 is left out: it is a labelled photo or of their scenes" in text


def test_what_was_mended_or_left_out_is_told_and_recorded(options, extra, tmp_path):
    """Of the labelled photos and of the further ones."""
    for folder in (options["data"], extra):
        content = json.loads((folder / "train_all.json").read_text())
        for annotation in content["annotations"][:2]:
            annotation["segmentation"] = annotation["segmentation"][0]
        content["annotations"][3]["segmentation"] = []
        (folder / "train_all.json").write_text(json.dumps(content))
    run = RunFolder(tmp_path / "runs" / "a")
    plan, found, text = prepared({**options, "skip_bad": True}, run)
    flat = "note: outlines given as one flat list of numbers, read as one polygon: 2, such as annotation 0 of batch_01"
    assert text.replace("\n", " ").count(flat) == 2
    assert text.count("note: skipped 1 photo or entry: train_all.json: annotation 3 of batch_01_vt/0003.jpg") == 2
    create(plan, run, found)
    assert [note["text"] for note in run.search()["notes"]] == [
        "annotation 0 of batch_01_vt/0000.jpg",
        "annotation 1 of batch_01_vt/0001.jpg",
    ]
    assert [problem["file_name"] for problem in run.search()["skipped"]] == ["batch_01_vt/0003.jpg"]


@pytest.mark.slow
def test_search_with_further_photos(extra, tmp_path):
    write_photos(tmp_path / "data", count=30)
    places = {
        "--data": tmp_path / "data",
        "--extra": extra,
        "--runs-dir": tmp_path / "runs",
        "--name": "a",
        "--cache-dir": tmp_path / "cache",
        "--trials": 2,
        "--epochs": 2,
        "--image-size": SIDE,
    }
    command = [sys.executable, "search/run.py", "--smoke", *(str(each) for option in places.items() for each in option)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    run = RunFolder(tmp_path / "runs" / "a")
    assert len(run.trials()) == 2
    assert "6 extra photos train too" in done.stdout
    assert all("extra" not in str(name) for name in run.best_trial().confusion()["file_names"])
