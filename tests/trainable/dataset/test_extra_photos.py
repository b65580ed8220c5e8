import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SIDE, write_photos
from trainable.classes import IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache, cache_key
from trainable.dataset.class_counts import class_counts
from trainable.dataset.extra_photos import Extra, ExtraError, confidence_path
from trainable.dataset.fold_data import FoldData
from trainable.fold import main, train_fold
from trainable.formats.reading import read_data
from trainable.labelled_photos import draw_mask
from trainable.run_folder.folders import TrialFolder
from trainable.storage.atomic_write import read_json, write_json


@pytest.fixture
def pseudo(tmp_path, tiny_folds):
    """A folder of pseudo labels by models of folds 0 and 2: class 1 + k for fold k, class 9 for all."""
    folder = tmp_path / "pseudo"
    content = write_photos(folder, count=4, seed=8)
    for name, class_index in (("fold_0", 1), ("fold_2", 3), ("train_all", 9)):
        annotations = [{**each, "category_id": class_index} for each in content["annotations"]]
        (folder / f"{name}.json").write_text(json.dumps({**content, "annotations": annotations}))
    facts = {"round": 2, "mode": "hard", "folds": [0, 2], "folds_hash": tiny_folds.hash, "runs": ["first"]}
    write_json(folder / "pseudo.json", facts)
    return folder


def classes(dataset):
    return {each.class_index for photo in dataset.photos for each in photo.annotations}


def test_labels_are_those_of_the_fold_that_validates(pseudo, tiny_folds):
    extra = Extra.read(pseudo)
    assert classes(extra.dataset(0, tiny_folds)) == {1}
    assert classes(extra.dataset(2, tiny_folds)) == {3}
    assert classes(extra.dataset(-1, tiny_folds)) == {9}
    assert extra.describe() == "hard pseudo labels of round 2"
    assert extra.record() == {"hash": extra.hash, "pseudo": {"round": 2, "mode": "hard"}}


def test_fold_without_labels_and_other_folds_are_refused(pseudo, tiny_folds):
    extra = Extra.read(pseudo)
    with pytest.raises(ExtraError, match=r"for the folds 0, 2, none for fold 1: .*run.py --confirm RUN"):
        extra.dataset(1, tiny_folds)
    other = replace(tiny_folds, fold_of={**tiny_folds.fold_of, "batch_01_vt/0000.jpg": 3})
    with pytest.raises(ExtraError, match=f"on the folds {tiny_folds.hash}, this training's are {other.hash}"):
        extra.dataset(0, other)
    assert classes(extra.dataset(-1, other)) == {9}  # no photo validates


def test_labelled_folder_serves_every_fold(photos, tiny_folds):
    extra = Extra.read(photos)
    assert extra.pseudo is None
    assert extra.dataset(0, tiny_folds) == extra.dataset(1, tiny_folds) == read_data(photos)
    with pytest.raises(ExtraError, match=r"neither a data folder nor one of pseudo labels"):
        Extra.read(photos / "batch_01_vt")


def test_hash_is_of_all_labels(pseudo):
    before = Extra.read(pseudo).hash
    assert Extra.read(pseudo).hash == before
    (pseudo / "fold_2.json").write_text((pseudo / "fold_0.json").read_text())
    assert Extra.read(pseudo).hash != before


def write_confidences(pseudo, labels, *values):
    """Make the labels soft, each photo's as sure as its value."""
    write_json(pseudo / "pseudo.json", {**read_json(pseudo / "pseudo.json"), "mode": "soft"})
    for index, value in enumerate(values):
        path = confidence_path(pseudo, labels, f"batch_01_vt/{index:04d}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((256, 256), value, np.uint8)).save(path)


def test_confidences_are_cached_by_fold(pseudo, tiny_folds, tiny_cache, tmp_path):
    hard = Extra.read(pseudo)
    assert hard.cache(0, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=False).confidence is None
    write_confidences(pseudo, "fold_0", 10, 60, 0, 255)
    write_confidences(pseudo, "fold_2", 20, 20, 20, 20)
    extra = Extra.read(pseudo)
    assert extra.hash != hard.hash
    for fold, values in ((0, [10, 60, 0, 255]), (2, [20] * 4)):
        cache = extra.cache(fold, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=False)
        assert [int(each.min()) for each in cache.confidence] == values
    key = cache_key(extra.dataset(0, tiny_folds), SIDE)
    write_confidences(pseudo, "fold_0", 10, 60, 0, 254)
    assert cache_key(extra.dataset(0, tiny_folds), SIDE) != key


def test_broken_or_missing_confidence_is_a_problem_of_its_photo(pseudo, tiny_folds, tiny_cache, tmp_path):
    write_confidences(pseudo, "fold_0", 60, 60, 60)
    confidence_path(pseudo, "fold_0", "batch_01_vt/0001.jpg").write_bytes(b"no picture")
    extra = Extra.read(pseudo)
    with pytest.raises(ValueError, match=r"0001\.jpg cannot be decoded[\s\S]*0003.jpg cannot be decoded"):
        extra.cache(0, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=False)
    assert len(extra.cache(0, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=True).file_names) == 2


def test_damaged_record_is_told(pseudo):
    write_json(pseudo / "pseudo.json", {"round": 1, "mode": "hard", "folds": [0]})
    with pytest.raises(ExtraError, match=r"pseudo.json does not tell folds_hash, runs; write the labels again"):
        Extra.read(pseudo)
    (pseudo / "pseudo.json").write_text("{")
    with pytest.raises(ExtraError, match=r"pseudo.json is damaged"):
        Extra.read(pseudo)


def test_ignored_annotations_are_pixels_of_no_class(edit, tmp_path):
    def ignore(content):
        content["annotations"][3]["ignore"] = 1

    dataset = read_training(edit(ignore))
    mask = draw_mask(dataset.photos[3])
    assert set(np.unique(mask)) == {0, IGNORE_INDEX}
    assert (mask == IGNORE_INDEX).sum() == 196
    cache = build_cache(dataset, SIDE, tmp_path / "cache")[0]
    assert cache.class_pixels[3].tolist() == [SIDE * SIDE - 196] + [0] * 10
    assert cache.photo_pixels.tolist() == [SIDE * SIDE] * 10

    def spoil(content):
        content["annotations"][3]["ignore"] = "yes"

    assert "has ignore 'yes'; it is 1 for pixels to leave out" in read_training(edit(spoil)).problems[0].text


def test_photos_without_any_label_leave_losses_and_counts_finite(tiny_config, tiny_cache, tiny_folds, pseudo, tmp_path):
    content = json.loads((pseudo / "fold_0.json").read_text())
    for each in content["annotations"]:
        each |= {"ignore": 1, "segmentation": [[0, 0, SIDE, 0, SIDE, SIDE, 0, SIDE]]}
    (pseudo / "fold_0.json").write_text(json.dumps(content))
    cache = Extra.read(pseudo).cache(0, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=False)
    data = FoldData.of(tiny_cache, tiny_folds, 0, cache)
    assert class_counts(data).pixels.isfinite().all()
    for name in ("cross_entropy", "ce_lovasz"):
        config = replace(tiny_config, epochs=1, batch_size=2, loss={"name": name})
        train_fold(config, replace(data, train=data.train[-4:]), TrialFolder(tmp_path / name), lambda row: None)


def test_resumed_training_on_soft_labels_is_the_same_to_the_bit(tiny_config, tiny_cache, tiny_folds, pseudo, tmp_path):
    write_confidences(pseudo, "fold_0", 120, 120, 120, 120)
    cache = Extra.read(pseudo).cache(0, tiny_folds, tiny_cache, SIDE, tmp_path / "cache", skip_bad=False)
    data = FoldData.of(tiny_cache, tiny_folds, 0, cache)

    def stop(row):
        raise KeyboardInterrupt

    straight, cut = TrialFolder(tmp_path / "0000"), TrialFolder(tmp_path / "0001")
    train_fold(replace(tiny_config, epochs=2), data, straight, lambda row: None)
    with pytest.raises(KeyboardInterrupt):
        train_fold(replace(tiny_config, epochs=2), data, cut, stop)
    train_fold(replace(tiny_config, epochs=2), data, cut, lambda row: None, resume=True)
    assert cut.best_weights.read_bytes() == straight.best_weights.read_bytes()


def test_command_line_trains_on_further_photos(tiny_config, photos, tmp_path, capsys):
    write_photos(tmp_path / "extra", count=4, seed=16)
    write_json(tmp_path / "config.json", replace(tiny_config, epochs=1).to_dict())
    places = {
        "--config": tmp_path / "config.json",
        "--data": photos,
        "--extra": tmp_path / "extra",
        "--cache-dir": tmp_path / "cache",
    }
    arguments = [str(each) for option in places.items() for each in option]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    shutil.copy(photos / "batch_01_vt" / "0004.jpg", tmp_path / "extra" / "batch_01_vt" / "0002.jpg")
    assert main([*arguments, "--out", str(tmp_path / "leaking")]) == 2
    assert "batch_01_vt/0002.jpg is batch_01_vt/0004.jpg" in capsys.readouterr().err.replace("\n", " ")


def test_training_on_all_photos_has_a_command_line_too(tiny_config, photos, tmp_path, capsys):
    write_json(tmp_path / "config.json", replace(tiny_config, epochs=1, fold=-1).to_dict())
    places = {
        "--config": tmp_path / "config.json",
        "--data": photos,
        "--out": tmp_path / "out",
        "--cache-dir": tmp_path / "cache",
    }
    assert main([str(each) for option in places.items() for each in option]) == 0
    assert "val_miou" not in capsys.readouterr().out
