"""Small real runs: trials trained on generated photos, with the study a search would have left; and a search's own."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from tests.conftest import ROOT, SIDE, SMALLEST, write_photos
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds
from trainable.fold import train_fold
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, STOPPED
from trainable.storage.atomic_write import write_json

SAMPLED: list[dict[str, Any]] = [
    {"lr": 1e-3, "loss": "cross_entropy", "elastic": False},
    {"lr": 3e-3, "loss": "dice", "elastic": True},
    {"lr": 1e-2, "loss": "cross_entropy", "elastic": False},
    {"lr": 1e-5, "loss": "dice", "elastic": True},
]
DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-6, 1e-1, log=True),
    "loss": CategoricalDistribution(("cross_entropy", "dice")),
    "elastic": CategoricalDistribution((False, True)),
}

SMALL = ["--image-size", str(SIDE), "--batch-size", "5", "--architecture", "unet", "--encoder", "tu-test_resnet"]
"""Options of a search with the smallest real network."""


def command(folder: Path, data: Path, *more: str) -> list[str]:
    """Return the command line of a search in a folder."""
    places = {"--data": data, "--runs-dir": folder / "runs", "--cache-dir": folder / "cache"}
    options = [str(word) for place in places.items() for word in place]
    return [sys.executable, str(ROOT / "search" / "run.py"), *options, *more]


@pytest.fixture(scope="session")
def ended_search(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], RunFolder]:
    """What a search of five trials on real Ray has printed, and its run: for reading, or to go on from a copy."""
    folder = tmp_path_factory.mktemp("ended")
    write_photos(folder / "data", count=30)
    options = ["--name", "a", "--trials", "5", "--epochs", "4", "--folds", "3", *SMALL]
    done = subprocess.run(command(folder, folder / "data", *options), capture_output=True, text=True)
    return done, RunFolder(folder / "runs" / "a")


@pytest.fixture(scope="session")
def searched_once(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Four trials on 20 photos: three finished, one stopped by ASHA; a fifth failed."""
    root = tmp_path_factory.mktemp("searched")
    write_photos(root / "data", count=20)
    dataset = read_training(root / "data")
    cache, _ = build_cache(dataset, SIDE, root / "cache")
    folds = make_folds(cache, 4, 0)
    base = replace(SMALLEST, epochs=3, batch_size=5)
    run = RunFolder(root / "runs" / "small")
    run.path.mkdir(parents=True)
    folds.write(run.folds)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(run.study))), study_name="small", direction="maximize"
    )
    for number, params in enumerate(SAMPLED):
        folder = run.trial(number)
        stopped = number == 3
        config = replace(base, optimizer={"name": "adamw", "lr": params["lr"]}, loss={"name": params["loss"]})
        train_fold(config, FoldData.of(cache, folds, 0), folder, lambda row: None, until=1 if stopped else None)
        folder.write_status(STOPPED if stopped else FINISHED, "after epoch 1 of 3" if stopped else "all 3 epochs")
        folder.write_params(params)
        study.add_trial(_frozen(folder.curve(), params, stopped))
    run.trial(4).path.mkdir()
    run.trial(4).write_status(FAILED, "DivergedError: the loss is nan | in epoch 1")
    run.trial(4).write_params({"lr": 9e-2, "loss": "dice", "elastic": False})
    plan = {
        "space": "losses",
        "data": str(root / "data"),
        "cache_dir": str(root / "cache"),
        "skip_bad": False,
        "trials": 5,
        "base": base.to_dict(),
    }
    write_json(
        run.path / "search.json",
        {
            "command": "python search/run.py --space losses",
            "plan": plan,
            "data_hash": dataset.json_hash,
            "folds_hash": folds.hash,
            "commit": "0123456789abcdef",
            "versions": {"python": "3.11", "torch": "2"},
        },
    )
    return run


def _frozen(curve: list[dict[str, float]], params: dict[str, Any], stopped: bool) -> optuna.trial.FrozenTrial:
    values = {int(row["epoch"]): row["val_miou"] for row in curve}
    return create_trial(
        state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
        value=None if stopped else max(values.values()),
        params=params,
        distributions=DISTRIBUTIONS,
        intermediate_values=values,
    )


@pytest.fixture
def searched(searched_once: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the small run that a test may damage."""
    shutil.copytree(searched_once.path, tmp_path / "small")
    return RunFolder(tmp_path / "small")


@pytest.fixture(scope="session")
def confirmed_once(searched_once: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The small run with its first three trials on all four folds, and a data folder whose test.json has 5 photos."""
    run = RunFolder(tmp_path_factory.mktemp("confirmed") / "small")
    shutil.copytree(searched_once.path, run.path)
    plan = run.search()["plan"]
    data = Path(plan["data"])
    cache, _ = build_cache(read_training(data), SIDE, Path(plan["cache_dir"]))
    folds = Folds.read(run.folds)
    for number in range(3):
        for fold in (1, 2, 3):
            folder = run.trial(number).further(fold)
            config = TrialConfig.from_dict({**run.trial(number).config(), "fold": fold})
            train_fold(config, FoldData.of(cache, folds, fold), folder, lambda row: None)
            folder.write_status(FINISHED, "all 3 epochs")
    test = json.loads((data / "train_all.json").read_text())
    write_json(data / "test.json", {**test, "images": test["images"][:5], "annotations": []})
    return run


@pytest.fixture
def confirmed(confirmed_once: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the confirmed run that a test may damage."""
    shutil.copytree(confirmed_once.path, tmp_path / "small", ignore=shutil.ignore_patterns("ensemble"))
    return RunFolder(tmp_path / "small")
