"""A small real run of classes and photos of its own: three classes without background, two of them mirrored, and photos
of two sizes that are twice as wide as high, or wider."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from pycocotools import mask as rle_masks

from tests.conftest import SMALLEST
from trainable.classes import IGNORE_INDEX, Classes
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.fold import train_fold
from trainable.geometry import Geometry
from trainable.labelled_photos import Annotation, Dataset, Photo
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import write_json

DOORS = Classes.of_names(("left door", "right door", "wall"), background=False)
SIZES = ((32, 64), (28, 64))
COUNT, FOLDS, WIDE = 18, 3, 64


def write_doors(folder: Path, count: int, seed: int = 0) -> Dataset:
    """Write photos of a left door, a wall and a right door, some pixels without a label, and return them as read."""
    rng, photos = np.random.default_rng(seed), []
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        height, width = SIZES[index % 2]
        name = f"photos/{index:03d}.png"
        mask = np.full((height, width), 2, np.uint8)
        mask[:, : rng.integers(12, 24)], mask[:, -rng.integers(12, 24) :] = 0, 1
        mask[: rng.integers(3), :] = IGNORE_INDEX
        colours = np.array([[200, 40, 40], [40, 40, 200], [120, 160, 120]])
        noise = rng.integers(-100, 100, (4, 8, 1)).repeat(8, 0).repeat(8, 1)[:height, :width]  # no two look alike
        pixels = colours[np.where(mask == IGNORE_INDEX, 2, mask)] + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
        annotations = tuple(
            Annotation(value % IGNORE_INDEX, rle_masks.encode(np.asfortranarray(mask == value)), value == IGNORE_INDEX)
            for value in np.unique(mask).tolist()
        )
        photos.append(Photo(name, folder / name, height, width, annotations))
    return Dataset(folder, tuple(photos), (), "d" * 64, classes=DOORS)


@pytest.fixture(scope="session")
def doors_once(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two trials on all three folds."""
    root = tmp_path_factory.mktemp("doors")
    dataset = write_doors(root / "data", COUNT)
    geometry = Geometry.of([(photo.height, photo.width) for photo in dataset.photos], None, "native")
    cache, _ = build_cache(dataset, WIDE, root / "cache", geometry=geometry)
    folds = make_folds(cache, FOLDS, 0)
    run = RunFolder(root / "runs" / "doors")
    run.path.mkdir(parents=True)
    folds.write(run.folds)
    base = replace(
        SMALLEST, epochs=2, batch_size=4, image_size=WIDE, aspect=geometry.aspect, num_classes=3,
        augmentation={"name": "none"},
    )  # fmt: skip
    for number, lr in enumerate((3e-3, 1e-2)):
        for fold in range(FOLDS):
            folder = run.trial(number) if fold == 0 else run.trial(number).further(fold)
            config = replace(base, fold=fold, optimizer={"name": "adamw", "lr": lr})
            train_fold(config, FoldData.of(cache, folds, fold), folder, lambda row: None)
            folder.write_status(FINISHED, "all 2 epochs")
        run.trial(number).write_params({"lr": lr})
    optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(run.study))), study_name="doors", direction="maximize"
    )
    plan = {
        "space": "optimizers",
        "data": str(root / "data"),
        "cache_dir": str(root / "cache"),
        "skip_bad": False,
        "trials": 2,
        "folds": FOLDS,
        "base": base.to_dict(),
        "class_table": DOORS.to_dict(),
        "geometry": geometry.to_dict(),
    }
    record = {"plan": plan, "data_hash": dataset.json_hash, "folds_hash": folds.hash, "classes": list(DOORS.names)}
    write_json(run.path / "search.json", record)
    return run


@pytest.fixture(scope="module")
def doors(doors_once: RunFolder) -> Iterator[RunFolder]:
    """The run, whose data is found without a reader of its format as long as a module's tests last."""
    dataset = write_doors(Path(doors_once.search()["plan"]["data"]), COUNT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("analysis.pool.run_data.read_data", lambda root, classes: dataset)
        patched.setattr("analysis.prediction.networks.cpu_count", lambda: 1)  # threads of tiny convolutions wait
        yield doors_once
