import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.dataset.demo import demo_data, scene
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.fold import train_fold
from trainable.metric.confusion import confusion_matrices, mean_iou
from trainable.run_folder.folders import TrialFolder


def digest(folder):
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.jpg")))).hexdigest()


def test_is_a_valid_data_folder_and_repeats_by_seed(tmp_path):
    first = demo_data(tmp_path / "a", photos=12, test_photos=2)
    dataset = read_training(first)
    assert dataset.problems == ()
    assert len(dataset.photos) == 12
    assert digest(first) == digest(demo_data(tmp_path / "b", photos=12, test_photos=2))
    assert digest(first) != digest(demo_data(tmp_path / "c", photos=12, test_photos=2, seed=1))


def test_unfinished_folder_is_made_anew(tmp_path):
    folder = demo_data(tmp_path, photos=3, test_photos=1)
    (folder / "demo.json").unlink()
    (folder / "batch_01_vt" / "0001.jpg").unlink()
    assert read_training(demo_data(tmp_path, photos=3, test_photos=1)).problems == ()


def test_classes_are_all_there_uneven_and_overlapping(tmp_path):
    dataset = read_training(demo_data(tmp_path / "demo", photos=100, test_photos=1))
    cache, _ = build_cache(dataset, 64, tmp_path / "cache")
    photos = (cache.class_pixels > 0).sum(axis=0)
    assert photos.min() >= 4
    assert photos[CLASSES.index("Paper")] > 4 * photos[CLASSES.index("Battery")]
    assert (cache.annotation_counts > 1).mean() > 0.5
    assert 0.6 < cache.class_pixels[:, 0].sum() / cache.class_pixels.sum() < 0.92


def test_colour_alone_does_not_tell_the_class():
    """The mean colour of an object lies nearer to another class's mean than to its own for many objects."""
    rng = np.random.default_rng(0)
    colours, labels = [], []
    for _ in range(150):
        pixels, objects = scene(rng)
        for index, outline in objects:
            x, y = outline.mean(axis=0).astype(int).clip(2, 125)
            colours.append(pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0))
            labels.append(index)
    points, classes = np.array(colours), np.array(labels)
    centres = np.array([points[classes == index].mean(axis=0) for index in range(1, 11)])
    nearest = 1 + np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == classes).mean() < 0.5


def best_of(config, data, folder):
    """Train and return the best val_miou: in a process of its own."""
    train_fold(config, data, folder, lambda row: None)
    return max(row["val_miou"] for row in folder.curve())


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_demo_is_learnable_and_the_loss_matters(tmp_path):
    """With the search's own defaults; the losses are among those a demo search ends with and starts from."""
    plan = new_plan(Settings(), Machine(cores=1, gpus=0))
    cache, _ = build_cache(read_training(demo_data(tmp_path / "demo")), plan.config.image_size, tmp_path / "cache")
    data = FoldData.of(cache, make_folds(cache, plan.folds, plan.config.seed), plan.config.fold)
    truth = torch.from_numpy(cache.score_masks[data.val])
    background = mean_iou(confusion_matrices(truth, torch.zeros_like(truth), len(CLASSES)).sum(0))
    losses = {"blend": {"name": "focal_dice", "gamma": 3.9, "weight": 0.85}, "plain": {"name": "cross_entropy"}}
    with ProcessPoolExecutor(2, get_context("forkserver")) as pool:
        running = {
            name: pool.submit(
                best_of,
                replace(plan.config, loss=loss, optimizer={"name": "adamw", "lr": 1e-3}),
                data,
                TrialFolder(tmp_path / name),
            )
            for name, loss in losses.items()
        }
        best = {name: each.result() for name, each in running.items()}
    assert 0.05 < background < 0.1
    assert best["blend"] > 3 * background
    assert best["blend"] > best["plain"] + 0.03
