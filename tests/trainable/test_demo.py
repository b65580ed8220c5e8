import hashlib

import numpy as np

from trainable.cache import build_cache
from trainable.coco import CLASSES, read_training
from trainable.demo import demo_data, scene


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
