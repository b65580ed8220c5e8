import ast
import csv
import itertools
import json

import numpy as np
import pytest

from tests.conftest import write_scenes
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_balancing import balanced
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds, stratify


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


def dealt(folder, sizes, count, cache_dir):
    write_scenes(folder, sizes)
    return make_folds(build_cache(read_training(folder), 32, cache_dir)[0], count, 0)


def test_large_scene_leaves_no_fold_larger_than_the_others():
    rng = np.random.default_rng(0)
    present = np.hstack([np.ones((300, 1), bool), rng.random((300, 10)) < 0.3])
    groups = np.maximum(np.arange(300) - 39, 0)  # the first 40 photos are one scene
    fold = stratify(present, present.sum(axis=1), groups, 5, 0)
    assert len(set(fold[:40])) == 1
    sizes = np.bincount(fold)
    assert sizes.min() >= 57 and sizes.max() <= 63
    share = np.array([present[fold == k].mean(axis=0) for k in range(5)])
    assert np.abs(share / present.mean(axis=0) - 1).max() < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_scenes_are_dealt_as_evenly_as_any_deal_of_them(seed):
    rng = np.random.default_rng(seed)
    scenes = rng.integers(9, 38, 7)
    groups = np.repeat(np.arange(7), scenes)
    present = np.hstack([np.ones((len(groups), 1), bool), rng.random((len(groups), 5)) < 0.4])
    found = np.bincount(stratify(present, present.sum(axis=1), groups, 3, seed), minlength=3)
    ways = (np.bincount(way, scenes, 3) for way in itertools.product(range(3), repeat=7) if len(set(way)) == 3)
    assert found.max() / found.min() <= max(1.2, min(way.max() / way.min() for way in ways))


def test_deal_that_is_even_enough_stays_what_earlier_runs_have():
    rng = np.random.default_rng(0)
    present = rng.random((60, 11)) < 0.3
    fold = stratify(present, rng.integers(1, 20, 60), np.arange(60) // 2, 3, 1)
    assert "".join(map(str, fold[::2])) == "111200000122010220002121112122"


def test_balancing_moves_and_swaps_scenes():
    sizes = np.array([5, 5, 4, 4, 3, 3])
    start = np.array([0, 0, 1, 1, 2, 2])
    assert np.bincount(balanced(start, sizes, np.ones((6, 1), int), 3), sizes).tolist() == [8, 8, 8]
    assert np.bincount(balanced(np.zeros(6, int), sizes, sizes[:, None], 2), sizes).tolist() == [12, 12]


def test_warning_names_the_scene_that_makes_folds_uneven(tmp_path):
    folds = dealt(tmp_path / "data", [8, 1, 1, 1, 1, 1, 1, 1, 1], 4, tmp_path / "cache")
    assert sorted(folds.sizes) == [2, 3, 3, 8]
    for part in (
        "2 to 8 photos",
        "the largest scene has 8 of the 16 photos, such as batch_01_vt/0000.jpg",
        "take --folds 2, or add photos of other scenes",
    ):
        assert part in folds.warning
    folds.write(tmp_path / "folds.json")
    assert Folds.read(tmp_path / "folds.json") == folds
    assert json.loads((tmp_path / "folds.json").read_text())["warning"] == folds.warning
    assert dealt(tmp_path / "even", [2, 1, 1, 2, 1, 1, 1, 1], 2, tmp_path / "cache").warning == ""


@pytest.mark.parametrize(("scenes", "count", "fewer"), [
    ([11, 10, 13], 3, 0),  # two folds have 21 and 13
    ([4, 1, 1], 3, 0),
    ([6, 3, 3], 3, 2),
    ([5, 5, 5, 1], 4, 3),
])  # fmt: skip
def test_fewer_folds_are_recommended_only_where_they_come_out_even(tmp_path, scenes, count, fewer):
    folds = dealt(tmp_path / "data", scenes, count, tmp_path / "cache")
    assert folds.fewer == fewer
    assert (f"take --folds {fewer}, or add photos" in folds.warning) == (fewer > 0)
    assert "add photos of other scenes" in folds.warning
    if fewer:
        sizes = dealt(tmp_path / "fewer", scenes, fewer, tmp_path / "cache").sizes
        assert max(sizes) <= 1.2 * min(sizes)


def test_folds_of_an_older_run_are_read_and_name_no_scene(tmp_path):
    folds = dealt(tmp_path / "data", [8, 1, 1, 1, 1, 1, 1, 1, 1], 4, tmp_path / "cache")
    folds.write(tmp_path / "folds.json")
    content = json.loads((tmp_path / "folds.json").read_text())
    for name in ("largest_scene", "example", "warning", "fewer"):
        del content[name]
    (tmp_path / "folds.json").write_text(json.dumps(content))
    older = Folds.read(tmp_path / "folds.json")
    assert (older.hash, older.warning) == (folds.hash, "")


def test_too_few_scenes_tell_what_to_do(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"scenes \(1\), found 5: all 12 photos look like batch_01_vt/0000.jpg"
        r".* Add photos of 4 other scenes, or of one and take --folds 2",
    ):
        dealt(tmp_path / "one", [12], 5, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"number of scenes \(2\), found 5: .* Take --folds 2, or add photos of other"):
        dealt(tmp_path / "two", [7, 2], 5, tmp_path / "cache")
    with pytest.raises(
        ValueError,
        match=r"number of scenes \(3\), found 5: the largest scene has 7 of the 12 photos, "
        r"such as batch_01_vt/0003.jpg.* Take --folds 3 or fewer",
    ):
        dealt(tmp_path / "three", [3, 7, 2], 5, tmp_path / "cache")


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
