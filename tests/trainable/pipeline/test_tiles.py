"""Crops of training photos, and photos in a mirror."""

from dataclasses import replace

import numpy as np
import pytest

from trainable.classes import IGNORE_INDEX, Classes
from trainable.geometry import Geometry
from trainable.images.resampling import mirrored_mask
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.loader import TrainingPhotos, training_batches
from trainable.pipeline.object_patches import Patch, paste
from trainable.pipeline.oversampling import Draws
from trainable.pipeline.tiles import crops_of, tile_of

SIDES = Classes.of_names(["ground", "left", "right"], background=True)


@pytest.fixture
def wide_cache(tiny_cache):
    """Two photos in frames of 64 x 96: one fills it, of the other 64 x 48 pixels are padding."""
    images = np.random.default_rng(0).integers(1, 256, (2, 64, 96, 3), np.uint8)
    masks = np.random.default_rng(1).integers(0, 3, (2, 64, 96), np.uint8)
    images[1, :, 48:], masks[1, :, 48:] = 0, IGNORE_INDEX
    return replace(
        tiny_cache,
        file_names=("a", "b"),
        images=images,
        masks=masks,
        photo_sizes=np.array([[64, 96], [64, 48]]),
        classes=SIDES,
        geometry=Geometry(0.6667, (64, 96), False),
    )


def test_crops_are_of_the_photo_and_everywhere(wide_cache):
    rng, seen = np.random.default_rng(0), np.zeros((64, 96), bool)
    for _ in range(200):
        image, mask = tile_of(wide_cache, 0, 32, rng)
        assert image.shape == (32, 32, 3) and mask.shape == (32, 32)
        (top, left), *more = np.argwhere((wide_cache.images[0] == image[0, 0]).all(-1))
        assert not more and np.array_equal(wide_cache.images[0, top : top + 32, left : left + 32], image)
        assert np.array_equal(wide_cache.masks[0, top : top + 32, left : left + 32], mask)
        seen[top : top + 32, left : left + 32] = True
    assert seen.mean() > 0.95


def test_crops_keep_off_padding_and_are_padded_where_the_photo_is_smaller(wide_cache):
    rng = np.random.default_rng(0)
    assert all((tile_of(wide_cache, 1, 48, rng)[1] != IGNORE_INDEX).all() for _ in range(30))
    image, mask = tile_of(wide_cache, 1, 64, rng)
    assert (mask[:, 48:] == IGNORE_INDEX).all() and (image[:, 48:] == 0).all() and (mask[:, :48] < 3).all()


@pytest.mark.parametrize(("frame", "tile", "crops"), [((64, 96), 0, 1), ((64, 96), 32, 6), ((64, 96), 96, 1)])
def test_an_epoch_takes_as_many_crops_as_have_the_area_of_a_photo(wide_cache, frame, tile, crops):
    assert crops_of(frame, tile) == crops
    photos = TrainingPhotos(
        wide_cache, Draws(np.array([0, 1])), [], build_augmentation({"name": "none"}, [], (32, 32), SIDES), 0, tile=tile
    )
    loader, sampler = training_batches(photos, batch_size=1, workers=0, pin=False)
    assert len(loader) == len(sampler) == 2 * crops
    assert sorted(position for _, position, _ in sampler) == [0] * crops + [1] * crops


def test_without_tiles_a_photo_is_the_cache_s_own(wide_cache):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    image, _ = tile_of(wide_cache, 0, 0, rng)
    assert np.shares_memory(image, wide_cache.images) and rng.bit_generator.state == before


@pytest.mark.parametrize("name", ["light", "reference", "heavy"])
def test_a_mirrored_photo_has_the_sides_of_a_mirror(name):
    image = np.zeros((32, 48, 3), np.uint8)
    mask = np.zeros((32, 48), np.uint8)
    image[8:24, 4:16], mask[8:24, 4:16] = (250, 0, 0), 1  # left is red, right is blue
    image[8:24, 32:44], mask[8:24, 32:44] = (0, 0, 250), 2
    flips = [step for step in build_augmentation({"name": name}, [], (32, 48), SIDES) if "Mirror" in str(type(step))]
    assert flips
    for step in flips:
        step.p = 1.0
        out = step(image=image, mask=mask)
        assert np.array_equal(out["mask"] == 2, out["image"][..., 0] == 250)  # what was left is right now
        assert np.array_equal(out["mask"] == 1, out["image"][..., 2] == 250)


@pytest.mark.parametrize("name", ["light", "reference", "heavy"])
def test_flips_can_be_turned_off_and_are_where_a_side_has_no_other(name):
    def kinds(choice, classes):
        return [type(step).__name__ for step in build_augmentation(choice, [], (32, 48), classes)]

    alone = Classes.of_names(["ground", "left"], background=True)
    for found in (kinds({"name": name, "flips": False}, SIDES), kinds({"name": name}, alone)):
        assert not [kind for kind in found if "Flip" in kind or "Mirror" in kind]
    plain = Classes.of_names(["ground", "hood"], background=True)
    assert "HorizontalFlip" in kinds({"name": name}, plain)


def test_pasted_objects_are_mirrored_with_their_class(wide_cache):
    patch = Patch(0, 1, 0, 0, wide_cache.masks[0, :8, :8] == 1, 0.01)
    seen, rng = set(), np.random.default_rng(0)
    for _ in range(60):
        image, mask = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
        paste(image, mask, patch, wide_cache, 1.0, rng)
        values = set(np.unique(mask)) - {0, IGNORE_INDEX}
        assert len(values) == 1
        seen |= values
    assert seen == {1, 2}
    still = replace(wide_cache, classes=replace(SIDES, mirror=(), may_mirror=False))
    image, mask = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    for _ in range(20):
        paste(image, mask, patch, still, 1.0, rng)
    assert set(np.unique(mask)) <= {0, 1}


def test_mirrored_masks_leave_what_is_ignored():
    mask = np.array([[0, 1, 2, IGNORE_INDEX]], np.uint8)
    assert mirrored_mask(mask, SIDES.mirrored).tolist() == [[0, 2, 1, IGNORE_INDEX]]
