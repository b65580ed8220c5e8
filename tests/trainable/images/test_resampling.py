"""Photo, mask and score lie on each other at every size."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks import ceilings
from trainable.classes import CLASSES, IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.images.resampling import resize_mask, resize_photo, score_mask, unscored_mask
from trainable.labelled_photos import draw_mask
from trainable.metric.score_maps import at_score_size, classes_at_score_size
from trainable.pipeline.augmentation import random_resized_crop
from trainable.pipeline.mixing import jitter_scale
from trainable.run_folder.out_of_fold import kept, scored, scored_classes

SIZES = (64, 96, 100, 128, 160, 192, 224, 256, 320, 333, 384, 448, 512, 576, 640)
PHOTOS = ((512, 512), (300, 1000), (97, 131))


def disc(height: int, width: int, row: float = 0.43, column: float = 0.57) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo of a bright disc, and its mask."""
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows / height - row) ** 2 + (columns / width - column) ** 2) < 0.22**2
    return np.repeat(inside[..., None] * np.uint8(200), 3, axis=2), inside * np.uint8(5)


def centre(weights: np.ndarray) -> np.ndarray:
    """Return the centroid in pixels, (row, column)."""
    grid = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return (grid * weights).sum((1, 2)) / weights.sum()


@pytest.mark.parametrize("shape", PHOTOS)
@pytest.mark.parametrize("size", SIZES)
def test_photo_and_mask_have_their_object_at_the_same_place(size: int, shape: tuple[int, int]) -> None:
    apart, moved = [], []
    for at in np.random.default_rng(size).uniform(0.3, 0.7, (12, 2)):  # the edge of one disc is rounded to pixels
        photo, mask = disc(*shape, *at)
        small, small_mask = resize_photo(photo, size), resize_mask(mask, size)
        assert small.shape == (size, size, 3) and small_mask.shape == (size, size)
        found = centre((small_mask == 5).astype(float))
        apart.append(centre(small[..., 0].astype(float)) - found)
        moved.append((found + 0.5) - (centre((mask == 5).astype(float)) + 0.5) / shape * size)
    assert np.abs(np.mean(apart, axis=0)).max() < 0.05
    assert np.abs(np.mean(moved, axis=0)).max() < 0.05


def blobs(size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice([0, 0, 3, 7, IGNORE_INDEX], (size, size)), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_flips_and_quarter_turns_commute_with_resizing(size: int) -> None:
    mask = blobs(96, size)
    photo = np.random.default_rng(size).integers(0, 256, (96, 96, 3), np.uint8)
    for turn in (np.fliplr, np.flipud, np.rot90, lambda each: np.rot90(each, 3)):
        turned = resize_mask(np.ascontiguousarray(turn(mask)), size)
        np.testing.assert_array_equal(turn(resize_mask(mask, size)), turned)
        other = resize_photo(np.ascontiguousarray(turn(photo)), size)
        assert np.abs(turn(resize_photo(photo, size)).astype(int) - other).max() <= 1  # of rounding


def test_a_mask_pixel_has_the_class_that_covers_most_of_it() -> None:
    mask = np.zeros((6, 6), np.uint8)
    mask[0, :2] = mask[1, 0] = 4  # 3 of the 9 first pixels
    mask[0, 3:6] = mask[1, 3:5] = 9  # 5 of 9
    mask[3:, 3:] = IGNORE_INDEX
    np.testing.assert_array_equal(resize_mask(mask, 2), [[0, 9], [0, IGNORE_INDEX]])
    mask = np.array([[0, 6], [6, 0]], np.uint8)
    assert resize_mask(mask, 1).tolist() == [[6]]  # as much of it as background


def test_a_mask_of_the_wanted_size_is_left_as_it_is() -> None:
    mask = blobs(64, 0)
    np.testing.assert_array_equal(resize_mask(mask, 64), mask)


def test_the_score_takes_truth_as_the_competition_does(photos, tmp_path) -> None:
    mask = np.random.default_rng(0).integers(0, 11, (512, 512), np.uint8)
    np.testing.assert_array_equal(score_mask(mask), mask[::2, ::2])
    odd = np.random.default_rng(1).integers(0, 11, (371, 600), np.uint8)
    rows, columns = np.arange(256) * 371 // 256, np.arange(256) * 600 // 256
    np.testing.assert_array_equal(score_mask(odd), odd[rows][:, columns])
    dataset = read_training(photos)
    for size in (16, 256):
        cache, _ = build_cache(dataset, size, tmp_path)
        for row, photo in enumerate(dataset.photos):
            np.testing.assert_array_equal(cache.score_masks[row], score_mask(draw_mask(photo)))
            assert cache.photo_sizes[row].tolist() == [photo.height, photo.width]


@pytest.mark.parametrize("shape", [(512, 512), (256, 300), (371, 600), (1024, 4000)])
def test_what_is_scored_goes_back_to_the_photo_it_came_from(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 11, (256, 256), np.uint8)
    np.testing.assert_array_equal(score_mask(unscored_mask(mask, *shape)), mask)


@pytest.mark.parametrize("shape", [(512, 512), (256, 256), (700, 1024), (40, 32)])
@pytest.mark.parametrize("size", [32, 96, 200])
def test_predictions_are_read_where_the_score_looks(size: int, shape: tuple[int, int]) -> None:
    """A map that grows evenly over the photo has, where the score looks, the value of that place in the photo."""
    ramp = ((torch.arange(size) + 0.5) / size).expand(1, 1, size, size)
    for axis, length in ((3, shape[1]), (2, shape[0])):
        found = at_score_size(ramp if axis == 3 else ramp.transpose(2, 3), [shape])
        looked_at = (torch.arange(256) * length // 256 + 0.5) / length
        looked_at = looked_at.clamp(0.5 / size, 1 - 0.5 / size)  # beyond the outer pixels' middles nothing is known
        found = found[0, 0, 0] if axis == 3 else found[0, 0, :, 0]
        assert (found - looked_at).abs().max() < 0.51 / 256 / size + 1e-6  # positions are in 256ths of a pixel


@pytest.mark.parametrize("size", [20, 64, 96, 255])
def test_classes_at_the_score_are_those_of_the_whole_maps(size: int) -> None:
    coarse = torch.randn(5, len(CLASSES), 6, 6, generator=torch.Generator().manual_seed(size)) * 2
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    for sizes in (None, [(512, 512)] * 5, [(512, 512), (300, 400), (32, 40), (300, 400), (512, 512)]):
        maps = kept(smooth.softmax(1), sizes)
        whole = at_score_size(maps, sizes)
        assert torch.equal(classes_at_score_size(maps, sizes).long(), whole.argmax(1))
        assert torch.equal(scored_classes(maps, sizes), classes_at_score_size(maps, sizes))
        assert torch.equal(scored(maps, sizes), whole)
        # whole numbers of 65,536ths: exact on every device
        assert torch.equal((whole.double() * 65536).round() / 65536, whole.double())


def test_mixed_photos_keep_their_masks_beside_them() -> None:
    photo, mask = disc(96, 96)
    apart = []
    for seed, scale in enumerate(np.linspace(0.5, 1.0, 40)):
        image, labels = jitter_scale(photo, mask, float(scale), np.random.default_rng(seed))
        apart.append(centre(image[..., 0].astype(float)) - centre((labels == 5).astype(float)))
    assert np.abs(np.mean(apart, axis=0)).max() < 0.05


def test_crops_keep_their_masks_beside_them() -> None:
    photo, mask = disc(96, 96)
    crop = random_resized_crop((96, 96), p=1.0)
    crop.set_random_seed(0)
    apart = []
    for _ in range(100):
        found = crop(image=photo, mask=mask)
        if not (edge := found["mask"] == 5)[[0, -1]].any() and not edge[:, [0, -1]].any():
            apart.append(centre(found["image"][..., 0].astype(float)) - centre(edge.astype(float)))
    assert len(apart) > 10
    assert np.abs(np.mean(apart, axis=0)).max() < 0.1


def test_a_perfect_model_beats_both_nearest_pixels_at_every_size(trash) -> None:
    """At 256 px plain nearest pixels are the score's own, and at 512 all are the photo's."""
    masks = [draw_mask(photo) for photo in read_training(trash, ["val.json"]).photos]
    known = {64: (0.875, 0.912), 96: (0.893, 0.943), 128: (0.953, 0.952), 192: (0.943, 0.975), 384: (0.975, 0.984)}
    for size, others in known.items():
        assert ceilings.ceiling(masks, size, resize_mask, ceilings.product) > max(others)
    assert ceilings.ceiling(masks[:10], 512, resize_mask, ceilings.product) == 1
    plain = ceilings.ceiling(masks, 96, ceilings.nearest, ceilings.enlarged)
    assert plain == pytest.approx(0.8925, abs=1e-4)


def test_opencv_still_shrinks_as_the_score_does() -> None:
    mask = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8)[None].repeat(256 * 3, 0)
    found = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(found[0], mask[0, ::3])
