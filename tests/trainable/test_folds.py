import ast
import csv

import numpy as np
import pytest

from trainable.cache import build_cache
from trainable.coco import read_training
from trainable.dealing import make_folds, stratify
from trainable.folds import Folds


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_competitions_photos_are_dealt_evenly(competition_classes, seed):
    with competition_classes.open() as file:
        rows = [ast.literal_eval(row["objects"]) for row in csv.DictReader(file)]
    present = np.zeros((len(rows), 12), bool)
    for index, classes in enumerate(rows):
        present[index, [0, *classes]] = True
    fold = stratify(present, present[:, 1:].sum(axis=1), np.arange(len(rows)), 5, seed)
    share = np.array([present[fold == k].mean(axis=0) for k in range(5)])
    frequent = present.sum(axis=0) > 100
    assert np.abs(share / present.mean(axis=0) - 1)[:, frequent].max() <= 0.10
    battery = 10  # the list counts UNKNOWN as class 1
    assert present[:, battery].sum() == 19
    assert all(present[fold == k][:, battery].any() for k in range(5))
    assert np.bincount(fold).min() >= 650


def test_deal_depends_on_the_seed_alone(tiny_cache):
    assert make_folds(tiny_cache, 4, 0) == make_folds(tiny_cache, 4, 0)
    assert make_folds(tiny_cache, 4, 0).hash != make_folds(tiny_cache, 4, 1).hash


def test_deal_does_not_depend_on_the_image_size(photos, tmp_path):
    dataset = read_training(photos)
    small, large = (build_cache(dataset, size, tmp_path / "cache")[0] for size in (32, 64))
    assert make_folds(small, 3, 0) == make_folds(large, 3, 0)


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    groups = np.unique(rng.integers(0, 60, 200), return_inverse=True)[1]
    fold = stratify(rng.random((200, 11)) < 0.3, rng.integers(1, 20, 200), groups, 5, 0)
    assert all(len(set(fold[groups == group])) == 1 for group in range(groups.max() + 1))
    assert np.bincount(fold, minlength=5).min() > 20


def test_split_covers_each_photo_once(tiny_folds, tiny_cache):
    validated = []
    for fold in range(tiny_folds.count):
        train, val = tiny_folds.split(tiny_cache.file_names, fold)
        assert not set(train) & set(val)
        assert len(train) + len(val) == len(tiny_cache.file_names)
        validated += val.tolist()
    assert sorted(validated) == list(range(len(tiny_cache.file_names)))


def test_survives_the_disk(tiny_folds, tmp_path):
    tiny_folds.write(tmp_path / "folds.json")
    assert Folds.read(tmp_path / "folds.json") == tiny_folds
    assert tiny_folds.absent()  # each class is on two photos, there are four folds


def test_errors_name_the_value(tiny_folds, tiny_cache):
    with pytest.raises(ValueError, match="fold must be 0 to 3, or -1 to train on all, found 4"):
        tiny_folds.split(tiny_cache.file_names, 4)
    with pytest.raises(ValueError, match=r"do not know other.jpg \(1 such photos\)"):
        tiny_folds.split((*tiny_cache.file_names, "other.jpg"), 0)
    with pytest.raises(ValueError, match=r"folds must be 2 to the number of scenes \(\d+\), found 21"):
        make_folds(tiny_cache, 21, 0)
