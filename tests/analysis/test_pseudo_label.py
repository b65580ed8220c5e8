"""Pseudo labels from the ensemble of a run of one trial on two of three folds, and a training on them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import pseudo_label
from analysis.prediction import networks
from analysis.prediction.ensemble_file import Ensemble, Voter
from analysis.prediction.networks import predict_photos
from analysis.prediction.views import PLAIN
from analysis.pseudo_label import main
from analysis.pseudo_labels.labelling import write_labels
from analysis.pseudo_labels.thresholds import Rule
from analysis.pseudo_labels.unlabelled import find_unlabelled
from tests.conftest import SIDE, SMALLEST, write_photos
from trainable.classes import IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.config import NO_FOLD, TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.extra_photos import Extra, ExtraError
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.checkpoint import save_tensors
from trainable.fold import train_fold
from trainable.labelled_photos import draw_mask
from trainable.model.segmenter import build_model
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import read_json, write_json

CONFIG = replace(SMALLEST, epochs=1, batch_size=4)
ALL = ["--keep", "1", "--min-confidence", "0.01"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run with a stored ensemble, its data, and a folder of photos without labels, of which one is a labelled one."""
    root = tmp_path_factory.mktemp("pseudo")
    write_photos(root / "data", count=12)
    write_photos(root / "test", count=6, seed=8)
    (root / "test" / "train_all.json").unlink()
    shutil.copy(root / "data" / "batch_01_vt" / "0004.jpg", root / "test" / "batch_01_vt" / "0002.jpg")
    (root / "test" / "batch_01_vt" / "0005.jpg").write_bytes(b"no photo")
    dataset = read_training(root / "data")
    cache = build_cache(dataset, SIDE, root / "cache")[0]
    folds = make_folds(cache, 3, 0)
    run = RunFolder(root / "runs" / "a")
    for fold, folder in ((0, run.trial(0)), (1, run.trial(0).further(1))):
        folder.path.mkdir(parents=True)
        train_fold(replace(CONFIG, fold=fold), FoldData.of(cache, folds, fold), folder, lambda row: None)
        folder.write_status(FINISHED)
    folds.write(run.folds)
    plan = {
        "data": str(root / "data"),
        "cache_dir": str(root / "cache"),
        "skip_bad": False,
        "space": "losses",
        "folds": 3,
        "trials": 1,
        "base": CONFIG.to_dict(),
    }
    write_json(run.path / "search.json", {"plan": plan, "data_hash": dataset.json_hash, "folds_hash": folds.hash})
    return root


def stored_ensemble(paths) -> Ensemble:
    """Return the ensemble of trial 0's models, as `Ensemble.read` does of a stored one."""
    run = RunFolder(Path(paths[0]).absolute())
    folders = (run.trial(0), run.trial(0).further(1))
    voters = tuple(Voter(folder, fold, np.full(11, 0.5)) for fold, folder in enumerate(folders))
    return Ensemble(run.path / "ensemble.json", voters, (PLAIN,), ())


@pytest.fixture
def world(template, tmp_path, monkeypatch):
    shutil.copytree(template / "runs", tmp_path / "runs")
    monkeypatch.setattr(pseudo_label.Ensemble, "read", stored_ensemble)
    monkeypatch.setattr(networks, "cpu_count", lambda: 1)  # threads of tiny convolutions wait for each other
    return template, RunFolder(tmp_path / "runs" / "a"), tmp_path / "extra"


def label(world, *more):
    template, run, out = world
    places = {"--run": run.path, "--data": template / "test", "--out": out}
    return main([*(str(each) for option in places.items() for each in option), *map(str, more)])


def test_folder_trains_by_fold_and_holds_no_labelled_photo(world, capsys):
    template, run, out = world
    assert label(world, *ALL) == 0
    printed = capsys.readouterr().out
    assert "labelled photos or of their scenes: 1 photo, batch_01_vt/0002.jpg (batch_01_vt/0004.jpg)" in printed
    assert "cannot be read: 1 photo, batch_01_vt/0005.jpg" in printed
    assert f"--folds 3 --seed 0 --extra {out}" in printed
    assert {path.name for path in out.iterdir()} == {
        "batch_01_vt",
        "confidence",
        "fold_0.json",
        "fold_1.json",
        "pseudo.json",
        "train_all.json",
    }
    facts = read_json(out / "pseudo.json")
    assert (facts["round"], facts["mode"], facts["folds"], facts["runs"]) == (1, "soft", [0, 1], ["a"])
    assert facts["left_out"]["labelled"] == {"batch_01_vt/0002.jpg": "batch_01_vt/0004.jpg"}
    folds = Folds.read(run.folds)
    cache = build_cache(read_training(template / "data"), SIDE, template / "cache")[0]
    extra = Extra.read(out)
    for fold in (0, 1, NO_FOLD):
        more = extra.cache(fold, folds, cache, SIDE, template / "cache", skip_bad=False)
        data = FoldData.of(cache, folds, fold, more)
        assert len(data.train) - (np.array(list(folds.fold_of.values())) != fold).sum() == 4
        assert more.confidence is not None
    with pytest.raises(ExtraError, match=r"for the folds 0, 1, none for fold 2: no model of a validated on it"):
        extra.dataset(2, folds)


def test_labels_are_the_classes_that_the_ensemble_finds_likeliest(world):
    _, run, out = world
    assert label(world, *ALL, "--mode", "hard") == 0
    assert not (out / "confidence").exists()
    extra, folds = Extra.read(out), Folds.read(run.folds)
    for fold in (0, 1, NO_FOLD):
        ensemble = stored_ensemble([run.path])
        dataset = extra.dataset(fold, folds)
        maps = predict_photos(ensemble if fold == NO_FOLD else ensemble.of_fold(fold), [p.path for p in dataset.photos])
        for photo, probabilities in zip(dataset.photos, maps, strict=True):
            np.testing.assert_array_equal(draw_mask(photo), probabilities.argmax(0)[::8, ::8])  # at 32 px


def test_labels_of_a_fold_do_not_depend_on_models_of_other_folds(world, tmp_path):
    _, run, out = world
    assert label(world, *ALL) == 0
    before = {name: (out / f"{name}.json").read_bytes() for name in ("fold_0", "fold_1", "train_all")}
    shutil.move(out, tmp_path / "before")
    further = run.trial(0).further(1)
    torch.manual_seed(5)
    save_tensors(further.best_weights, build_model(TrialConfig.from_dict(further.config())).state_dict())
    assert label(world, *ALL) == 0
    after = {name: (out / f"{name}.json").read_bytes() for name in before}
    assert after["fold_0"] == before["fold_0"]
    assert after["fold_1"] != before["fold_1"]
    assert after["train_all"] != before["train_all"]


def test_unsure_pixels_are_ignored_and_each_class_keeps_its_share(world):
    _, run, out = world
    assert label(world, "--keep", "0.3", "--min-confidence", "0.01") == 0
    facts = read_json(out / "pseudo.json")["labels"]["fold_0"]
    assert all(share >= 0.3 for share in facts["kept"].values() if share)
    masks = [draw_mask(photo) for photo in Extra.read(out).dataset(0, Folds.read(run.folds)).photos]
    assert 0.05 < np.mean([mask == IGNORE_INDEX for mask in masks]) <= 0.7


def test_rounds_count_up_from_those_the_runs_trained_on(world):
    _, run, out = world
    record = {**run.search(), "extra": {"hash": "x", "pseudo": {"round": 2, "mode": "soft"}}}
    write_json(run.path / "search.json", record)
    assert label(world, *ALL) == 0
    assert read_json(out / "pseudo.json")["round"] == 3


def test_errors_leave_nothing_behind(world, capsys):
    template, run, out = world

    def error(*more):
        assert label(world, *more) == 2
        assert not out.exists()
        assert not list(out.parent.glob("*.part"))
        return capsys.readouterr().err

    assert "--keep must be above 0" in error("--keep", "0")
    assert "no label of fold_0 is sure enough: the surest is 0." in error("--threshold", "1")
    assert "does not exist; name a folder" in error("--data", template / "none")
    record = run.search()
    write_json(run.path / "search.json", {**record, "data_hash": "0" * 64})
    assert "are not those of the run" in error()
    write_json(run.path / "search.json", record)
    out.mkdir()
    assert label(world) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_interruption_leaves_nothing_behind(world, monkeypatch, capsys):
    def interrupted(ensemble, paths):
        yield next(iter(predict_photos(ensemble, paths)))
        raise KeyboardInterrupt

    monkeypatch.setattr(pseudo_label, "predict_photos", interrupted)
    assert label(world) == 130
    assert not list(world[2].parent.glob(".extra*"))


def test_memory_holds_no_more_than_one_photos_probabilities(world):
    """The maps are read one at a time: each is gone when the next is asked for."""
    template, run, out = world
    cache = build_cache(read_training(template / "data"), SIDE, template / "cache")[0]
    found = find_unlabelled(template / "test", cache)
    alive = []

    class Maps(np.ndarray):
        def __del__(self):
            alive.append(-1)

    def predict(ensemble, paths):
        for index, _ in enumerate(paths):
            assert sum(alive) <= 1
            alive.append(1)
            yield np.full((11, 256, 256), index, np.uint8).view(Maps)

    write_labels(out, stored_ensemble([run.path]), found, predict, Rule(min_confidence=0.001), False, {})
    assert json.loads((out / "fold_0.json").read_text())["images"]
