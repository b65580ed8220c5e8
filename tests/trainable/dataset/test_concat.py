import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SIDE, write_photos
from trainable.classes import IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.dataset.class_counts import class_counts
from trainable.dataset.concat import LeakError, Rows, join, leaks
from trainable.dataset.fold_data import FoldData
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.loader import TrainingPhotos
from trainable.pipeline.mixing import build_mixing
from trainable.pipeline.oversampling import build_draws


@pytest.fixture(scope="module")
def extra(tmp_path_factory):
    """Six further photos, by the names of labelled ones; a seed whose squares do not happen to look like theirs."""
    folder = tmp_path_factory.mktemp("extra")
    write_photos(folder / "data", count=6, seed=8)
    return build_cache(read_training(folder / "data"), SIDE, folder / "cache")[0]


def test_rows_are_indexed_as_one_array():
    first, second = np.arange(24).reshape(2, 3, 4), np.arange(100, 136).reshape(3, 3, 4)
    rows, whole = Rows(first, second), np.concatenate([first, second])
    assert rows.shape == whole.shape
    assert len(rows) == 5
    for key in (
        0,
        4,
        np.int64(2),
        (3, slice(1, 3), slice(0, 2)),
        np.array([0, 1]),
        np.array([4, 0, 2]),
        (np.array([1, 3]), 2),
    ):
        np.testing.assert_array_equal(rows[key], whole[key])
    assert np.shares_memory(rows[3], second)
    with pytest.raises(IndexError):
        rows[5]


def test_further_photos_train_in_every_fold_and_never_validate(tiny_cache, tiny_folds, extra):
    for fold in range(-1, tiny_folds.count):
        plain, data = (FoldData.of(tiny_cache, tiny_folds, fold, more) for more in (None, extra))
        np.testing.assert_array_equal(data.val, plain.val)
        np.testing.assert_array_equal(data.train, [*plain.train, *range(20, 26)])
        assert not any(data.cache.file_names[position].startswith("extra/") for position in data.val)
    assert data.cache.file_names[20] == "extra/batch_01_vt/0000.jpg"  # another photo than that of this name
    np.testing.assert_array_equal(data.cache.images[20], extra.images[0])
    np.testing.assert_array_equal(data.cache.masks[25], extra.masks[5])


def test_without_further_photos_nothing_changes(tiny_cache, tiny_folds):
    data = FoldData.of(tiny_cache, tiny_folds, 0)
    assert data.cache is tiny_cache
    rng = np.random.default_rng(0)
    assert tiny_cache.labels(3, rng) is not None
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn


def test_counts_patches_and_draws_see_further_photos(tiny_cache, tiny_folds, extra):
    plain, data = (FoldData.of(tiny_cache, tiny_folds, 0, more) for more in (None, extra))
    added = (class_counts(data).pixels - class_counts(plain).pixels).numpy()
    np.testing.assert_allclose(added, np.asarray(extra.class_pixels).sum(0))
    draws = build_draws({"name": "paste", "rare": 10, "min_area": 0.0, "max_area": 1.0}, data.cache, data.train)
    assert {patch.position for patch in draws.patches} == set(data.train.tolist())
    for patch in draws.patches:
        assert data.cache.masks[patch.position][patch.top :, patch.left :][patch.shape.nonzero()].max() > 0
        assert patch.pixels(data.cache).shape[:2] == patch.shape.shape


def leaking_folder(photos, tmp_path, change):
    """Write a folder whose photo 2 is made from the labelled photo 4."""
    write_photos(tmp_path / "extra", count=6, seed=9)
    (tmp_path / "extra" / "batch_01_vt" / "0002.jpg").write_bytes(
        change((photos / "batch_01_vt" / "0004.jpg").read_bytes())
    )
    return build_cache(read_training(tmp_path / "extra"), SIDE, tmp_path / "cache")[0]


def encoded_again(raw):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(raw)).save(buffer, "jpeg", quality=60)
    return buffer.getvalue()


def mirrored(raw):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(raw)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize("change", [bytes, encoded_again, mirrored])
def test_labelled_photo_among_the_further_ones_is_refused(tiny_folds, photos, tmp_path, change):
    cache = build_cache(read_training(photos), SIDE, tmp_path / "cache")[0]
    folds = replace(tiny_folds, fold_of={name: index % 4 for index, name in enumerate(cache.file_names)})
    extra = leaking_folder(photos, tmp_path, change)
    assert leaks(cache, extra) == {2: "batch_01_vt/0004.jpg"}
    with pytest.raises(LeakError, match=r"1 extra photos .*: batch_01_vt/0002.jpg is batch_01_vt/0004.jpg: remove"):
        FoldData.of(cache, folds, 0, extra)
    data = FoldData.of(cache, folds, 0, extra, skip_bad=True)
    assert set(range(10, 16)) - set(data.train.tolist()) == {12}
    with pytest.raises(LeakError, match="no extra photo is left"):
        FoldData.of(cache, folds, 0, cache, skip_bad=True)


@pytest.fixture
def soft(extra):
    """The further photos with labels that are sure of by column: never, half, always."""
    confidence = np.zeros((6, SIDE, SIDE), np.uint8)
    confidence[:, :, 10:20] = 128
    confidence[:, :, 20:] = 255
    return replace(extra, confidence=confidence)


def test_soft_labels_count_as_much_as_they_are_sure(tiny_cache, soft):
    joined = join(tiny_cache, soft)
    drawn = np.stack([joined.labels(22, np.random.default_rng(seed)) for seed in range(400)])
    kept = drawn != IGNORE_INDEX
    assert not kept[:, :, :10].any()
    assert kept[:, :, 20:].all()
    assert kept[:, :, 10:20].mean() == pytest.approx(128 / 255, abs=0.01)
    np.testing.assert_array_equal(drawn[0][kept[0]], soft.masks[2][kept[0]])
    np.testing.assert_array_equal(joined.labels(22, np.random.default_rng(3)), drawn[3])
    assert joined.labels(5, np.random.default_rng(0)).max() < IGNORE_INDEX  # a labelled photo


MIXING = [{"name": "copy_paste", "p": 1.0}, {"name": "mosaic", "p": 0.5}, {"name": "cutmix", "p": 0.5}]


def test_soft_labels_repeat_by_seed_and_reach_pastes_and_mixes(tiny_cache, soft):
    never = replace(soft, confidence=np.zeros_like(soft.confidence))
    cache = join(tiny_cache, never)
    further = np.arange(20, 26)

    def masks(mixing, seed=0):
        draws = build_draws({"name": "paste", "rare": 10, "min_area": 0.0, "max_area": 1.0}, cache, further)
        pipeline = build_augmentation({"name": "none"}, [], (SIDE, SIDE))
        photos = TrainingPhotos(cache, draws, build_mixing(mixing), pipeline, seed)
        return np.stack([photos[1, position, True][1] for position in further])

    assert set(np.unique(masks(MIXING))) == {IGNORE_INDEX}  # no label, however it comes into the picture
    cache = join(tiny_cache, soft)
    np.testing.assert_array_equal(masks(MIXING), masks(MIXING))
    assert (masks(MIXING) != masks(MIXING, seed=1)).any()
