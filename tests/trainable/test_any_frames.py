"""A training on own classes, in frames that are no squares, whole and by tiles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trainable.classes import IGNORE_INDEX
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.engine.validation import validate
from trainable.fold import train_fold
from trainable.formats.reading import read_data
from trainable.geometry import NATIVE, Geometry
from trainable.metric.confusion import mean_iou
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import Maps, scored_classes

SIZES = ((60, 80), (60, 80), (60, 80), (80, 60), (40, 80))
"""Height and width of the photos, in turn."""


@pytest.fixture(scope="module")
def masks_folder(tmp_path_factory):
    """Photos in three colours, one for each class, and no background; a frame of each mask is void."""
    root, rng = tmp_path_factory.mktemp("masks"), np.random.default_rng(0)
    colours = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200)], np.uint8)
    for number in range(20):
        height, width = SIZES[number % len(SIZES)]
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2 :] = 1
        top, left = rng.integers(4, height - 20), rng.integers(4, width - 20)
        mask[top : top + 16, left : left + 16] = 2
        photo = (colours[mask] + rng.integers(0, 30, (height, width, 3))).astype(np.uint8)
        mask[:2] = IGNORE_INDEX
        split = "val" if number % 4 == 0 else "train"
        for kind, pixels in (("images", photo), ("masks", mask)):
            path = root / kind / split / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    return root


def data_of(root, tmp_path, config, score=NATIVE, given=False):
    dataset = read_data(root)
    sizes = [(photo.height, photo.width) for photo in dataset.photos]
    geometry = Geometry.of(sizes, config.aspect, score)
    cache, skipped = build_cache(dataset, config.image_size, tmp_path / "cache", geometry=geometry)
    assert not skipped
    folds = make_folds(cache, 1 if given else 2, 0, dataset.given if given else None)
    return FoldData.of(cache, folds, 0)


@pytest.fixture
def config(tiny_config) -> TrialConfig:
    return replace(
        tiny_config, image_size=64, aspect=0.75, num_classes=3, epochs=8, batch_size=5,
        optimizer={"name": "adamw", "lr": 1e-2},
    )  # fmt: skip


def trained(config, data, folder):
    rows = []
    train_fold(config, data, TrialFolder(folder), rows.append)
    return rows


@pytest.mark.parametrize("tile", [0, 32, 64])
def test_own_classes_are_learnt_in_any_frame(masks_folder, tmp_path, config, tile):
    config = replace(config, tile_size=tile)
    data = data_of(masks_folder, tmp_path, config, given=True)
    assert data.cache.frame == (64, 64) == config.frame and data.cache.classes.names == ("red", "green", "blue")
    assert not data.cache.classes.background and len(data.val) == 5 and len(data.train) == 15
    rows = trained(config, data, tmp_path / "0")
    best = max(rows, key=lambda row: row["val_miou"])
    assert best["val_miou"] > 0.6 and {"iou_red", "iou_green", "iou_blue"} <= best.keys()
    confusion = TrialFolder(tmp_path / "0").confusion()
    assert confusion["scored"].shape == (5, 3, 3)
    assert mean_iou(torch.from_numpy(confusion["scored"].sum(0))) == pytest.approx(best["val_miou"])
    # Every labelled pixel counts once: all but the void of each photo's own size.
    labelled = [(height - 2) * width for height, width in data.cache.photo_sizes[data.val]]
    assert confusion["scored"].sum(axis=(1, 2)).tolist() == labelled
    maps = Maps.open(TrialFolder(tmp_path / "0").out_of_fold)
    assert maps.classes == ("red", "green", "blue") and maps.shape == (64, 64)
    kept = torch.from_numpy(np.stack(list(maps.read(confusion["file_names"].tolist()))))
    sizes = data.cache.photo_sizes[data.val]
    found = scored_classes(kept, sizes, data.cache.geometry)
    truth = torch.from_numpy(np.asarray(data.cache.score_masks[data.val]))
    hits = ((found == truth) & (truth != IGNORE_INDEX)).sum()
    assert int(hits) == confusion["scored"].trace(axis1=1, axis2=2).sum()


def test_wide_photos_have_wide_frames_and_padding_never_counts(masks_folder, tmp_path, config):
    config = replace(config, image_size=96, aspect=0.5)
    data = data_of(masks_folder, tmp_path, config)
    assert data.cache.frame == (64, 96)
    for position, (height, width) in enumerate(data.cache.photo_sizes):
        rows, columns = data.cache.geometry.content((int(height), int(width)), data.cache.frame)
        outside = np.ones(data.cache.frame, bool)
        outside[:rows, :columns] = False
        assert (data.cache.masks[position][outside] == IGNORE_INDEX).all()
        assert abs(rows / columns - height / width) < 0.05
    assert trained(replace(config, epochs=1), data, tmp_path / "0")[0]["val_miou"] > 0


def test_one_window_of_the_whole_photo_predicts_as_it_does(masks_folder, tmp_path, config):
    data = data_of(masks_folder, tmp_path, replace(config, aspect=0.0))  # stretched, so that photos fill their frames
    stepper = FoldTraining(replace(config, aspect=0.0), data).stepper
    whole = validate(stepper, data, 5)
    stepper.config = replace(stepper.config, tile_size=64)
    tiled = validate(stepper, data, 5)
    assert np.abs(whole.scored - tiled.scored).sum() <= 4 and np.abs(whole.full - tiled.full).sum() <= 4  # rounding
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-4)


def test_what_does_not_fit_is_refused(masks_folder, tmp_path, config):
    data = data_of(masks_folder, tmp_path, config)
    with pytest.raises(ValueError, match="num_classes is 4, the data has 3 classes"):
        trained(replace(config, num_classes=4), data, tmp_path / "0")
    with pytest.raises(ValueError, match="image_size is 96, the cache is at 64 px"):
        trained(replace(config, image_size=96), data, tmp_path / "1")
    with pytest.raises(ValueError, match="tile_size must be 32 to the longer side"):
        replace(config, tile_size=128)
    with pytest.raises(ValueError, match="aspect must be"):
        replace(config, aspect=-1)
