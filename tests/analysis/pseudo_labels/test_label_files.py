import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from analysis.pseudo_labels.label_files import LabelFile, check_space, put_photos, whole_folder
from analysis.pseudo_labels.thresholds import labels_of
from analysis.pseudo_labels.unlabelled import Unlabelled
from trainable.classes import IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.dataset.cache import DiskFullError, build_cache
from trainable.dataset.extra_photos import confidence_path
from trainable.images.resampling import score_mask, unscored_mask
from trainable.labelled_photos import draw_mask


@pytest.fixture
def photos(tmp_path):
    """Two photos of other sizes than the labels', one upright."""
    found = []
    for name, (width, height) in {"a/x.jpg": (70, 50), "b.png": (300, 400)}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)).save(path)
        found.append(Unlabelled(name, path, height, width))
    return found


def blobs(seed):
    """Labels of all kinds in large and small pieces."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 11, (16, 16)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    labels[rng.random((256, 256)) < 0.1] = IGNORE_INDEX
    return labels


def test_labels_come_back_through_the_training_code(photos, tmp_path):
    labels = [blobs(seed) for seed in range(2)]
    confidence = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    with whole_folder(tmp_path / "extra") as folder:
        put_photos(folder, photos)
        file = LabelFile(folder, "train_all", soft=True)
        for photo, each in zip(photos, labels, strict=True):
            file.add(photo, each, confidence)
        file.write()
    dataset = read_training(tmp_path / "extra")
    assert dataset.problems == ()
    for photo, each in zip(dataset.photos, labels, strict=True):
        large = unscored_mask(each, photo.height, photo.width)
        np.testing.assert_array_equal(draw_mask(photo), large)
        if min(photo.height, photo.width) >= 256:
            np.testing.assert_array_equal(score_mask(draw_mask(photo)), each)
        assert len(photo.annotations) == len(np.unique(large[large > 0]))
        assert all(
            part.area == (large == (IGNORE_INDEX if part.ignore else part.class_index)).sum()
            for part in photo.annotations
        )
    written = np.asarray(Image.open(confidence_path(tmp_path / "extra", "train_all", "b.png")))
    np.testing.assert_array_equal(written, np.where(labels[1] == IGNORE_INDEX, 0, confidence))


def test_json_tells_boxes_and_ids(photos, tmp_path):
    labels = np.zeros((256, 256), np.uint8)
    labels[64:128, 128:] = 5
    file = LabelFile(tmp_path, "fold_0", soft=False)
    file.add(photos[0], np.full((256, 256), IGNORE_INDEX, np.uint8), labels)
    file.add(photos[1], labels, labels)
    assert [image["file_name"] for image in file.images] == ["b.png"]  # one without labels is of no use
    (only,) = file.annotations
    assert (only["id"], only["image_id"], only["category_id"], only["iscrowd"]) == (0, 0, 5, 0)
    assert only["bbox"] == [150.0, 100.0, 150.0, 100.0]
    assert only["area"] == 150 * 100
    assert not (tmp_path / "confidence").exists()


def test_photos_are_linked_or_copied(photos, tmp_path, monkeypatch):
    put_photos(tmp_path / "linked", photos)
    assert (tmp_path / "linked" / "a" / "x.jpg").samefile(photos[0].path)

    def other_disk(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_disk)
    put_photos(tmp_path / "copied", photos)
    assert (tmp_path / "copied" / "b.png").read_bytes() == photos[1].path.read_bytes()


def test_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out" / "extra") as folder:
        (folder / "half").write_text("")
        raise KeyboardInterrupt
    assert list((tmp_path / "out").iterdir()) == []
    with whole_folder(tmp_path / "out" / "extra") as folder:
        (folder / "all").write_text("")
    with pytest.raises(ValueError, match="extra exists; name another folder"), whole_folder(tmp_path / "out" / "extra"):
        pass
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["extra", "all"]


def test_disk_need_is_checked(photos, tmp_path, monkeypatch):
    check_space(tmp_path / "not" / "yet", photos, 6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(DiskFullError, match=r"pseudo labels for 2 photos need 3 MB, .* has 0 MB free"):
        check_space(tmp_path / "not" / "yet", photos, 6)


@pytest.mark.parametrize("size", [64, 96, 256, 512])
def test_trained_labels_are_as_sure_as_the_ensemble_was_of_them(photos, tmp_path, size):
    """From probabilities to what a training draws, at sizes below and above that of photos and labels."""
    coarse = np.random.default_rng(3).dirichlet(np.full(11, 0.05), (12, 12)).transpose(2, 0, 1).astype(np.float32)
    probabilities = np.stack([cv2.resize(each, (256, 256), interpolation=cv2.INTER_LINEAR) for each in coarse])
    maps = np.rint(probabilities * 255).astype(np.uint8)
    classes, confidence = maps.argmax(0).astype(np.uint8), maps.max(0)
    labels = labels_of(classes, confidence, np.full(11, 128))
    with whole_folder(tmp_path / "extra") as folder:
        put_photos(folder, photos)
        file = LabelFile(folder, "train_all", soft=True)
        for photo in photos:
            file.add(photo, labels, confidence)
        file.write()
    dataset = read_training(tmp_path / "extra")
    paths = [confidence_path(tmp_path / "extra", "train_all", photo.file_name) for photo in dataset.photos]
    soft = tuple(replace(photo, confidence=path) for photo, path in zip(dataset.photos, paths, strict=True))
    cache = build_cache(replace(dataset, photos=soft), size, tmp_path / "cache")[0]
    assert cache.confidence is not None
    for mask, sure in zip(cache.masks, cache.confidence, strict=True):
        kept = mask != IGNORE_INDEX
        assert 0.3 < kept.mean() < 1
        assert sure[kept].min() >= 128  # as sure as the threshold asks, everywhere
        for value in np.unique(mask[kept]):  # and of a class on the whole as sure as the ensemble was
            there = confidence[(labels == value)].astype(float)
            assert abs(sure[mask == value].astype(float).mean() - there.mean()) < 12
