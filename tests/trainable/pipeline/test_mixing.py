import numpy as np
import pytest

from trainable.classes import IGNORE_INDEX
from trainable.pipeline.mixing import build_mixing, find_others, jitter_scale
from trainable.pipeline.object_patches import find_patches, paste

POSITIONS = np.arange(20)


def mixed(cache, choice, seed, position=0):
    mixing = build_mixing([choice])
    others = find_others(cache, POSITIONS, mixing)
    image, mask = cache.images[position].copy(), cache.masks[position].copy()
    before = image.copy(), mask.copy()
    out = mixing[0](image, mask, others, np.random.default_rng(seed))
    if choice["name"] != "copy_paste":
        np.testing.assert_array_equal(image, before[0])  # the cache's own arrays are never written
        np.testing.assert_array_equal(mask, before[1])
    return out


def consistent(cache, image, mask):
    """The squares are the only bright pixels of these photos, one level for each class."""
    for class_index in set(np.unique(mask)) - {0, IGNORE_INDEX}:
        levels = image[mask == class_index].mean(-1)
        assert abs(np.median(levels) - (105 + 14 * class_index)) < 30, class_index


@pytest.mark.parametrize("name", ["copy_paste", "mosaic", "cutmix"])
def test_masks_go_with_the_pixels_and_chance_zero_does_nothing(tiny_cache, name):
    changed = 0
    for seed in range(20):
        image, mask = mixed(tiny_cache, {"name": name, "p": 1.0}, seed, seed)
        assert image.shape == (32, 32, 3)
        assert mask.shape == (32, 32)
        assert image.dtype == mask.dtype == np.uint8
        consistent(tiny_cache, image, mask)
        changed += not np.array_equal(mask, tiny_cache.masks[seed])
        np.testing.assert_array_equal(mixed(tiny_cache, {"name": name, "p": 0.0}, seed)[0], tiny_cache.images[0])
    assert changed > 15


def test_pasted_patch_has_its_class_its_size_and_its_pixels(tiny_cache):
    patch = find_patches(tiny_cache, POSITIONS, [3])[0]
    for scale in (0.5, 1.0, 1.5):
        image, mask = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
        paste(image, mask, patch, tiny_cache, scale, np.random.default_rng(0))
        assert (mask == 3).sum() == pytest.approx(patch.shape.sum() * scale**2, rel=0.1)
        assert (image[mask == 3] > 90).mean() > 0.95
        assert image[mask == 0].max() == 0
    huge = np.zeros((32, 32), np.uint8)
    paste(np.zeros((32, 32, 3), np.uint8), huge, patch, tiny_cache, 50.0, np.random.default_rng(0))
    assert (huge == 3).any()  # no larger than the photo


def test_scale_jitter_pads_with_ignored_pixels_and_crops(tiny_cache):
    image, mask = tiny_cache.images[0], tiny_cache.masks[0]
    small, small_mask = jitter_scale(image, mask, 0.5, np.random.default_rng(0))
    assert (small_mask == IGNORE_INDEX).sum() == 32 * 32 - 16 * 16
    assert small[small_mask == IGNORE_INDEX].max() == 0
    large, large_mask = jitter_scale(image, mask, 2.0, np.random.default_rng(0))
    assert large.shape == image.shape
    assert IGNORE_INDEX not in large_mask


@pytest.mark.parametrize(("resize", "allowed"), [("small_to_large", (1, 3)), ("large_to_small", (0.5, 1))])
def test_resizing_keeps_its_direction(tiny_cache, resize, allowed):
    mix = build_mixing([{"name": "copy_paste", "resize": resize, "low": 0.5, "high": 1.5}])[0]
    patches = find_others(tiny_cache, POSITIONS, [mix]).patches
    scales = [mix._scale(patch, np.random.default_rng(seed)) for seed, patch in enumerate(patches)]
    assert all(allowed[0] <= scale <= allowed[1] for scale in scales)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"name": "mosaik"}, "unknown mixing 'mosaik'; did you mean 'mosaic'"),
        ({"name": "mosaic", "p": 1.5}, "p is a chance, 0 to 1, found 1.5"),
        ({"name": "mosaic", "spread": 0.5}, "spread is a share of the side"),
        ({"name": "cutmix", "area": 0.0}, "area is a share of the photo"),
        ({"name": "copy_paste", "low": 1.2}, "low <= 1 <= high"),
        ({"name": "copy_paste", "most": 0}, "most must be at least 1 object"),
        ({"name": "copy_paste", "resize": "up"}, "resize must be one of jitter, small_to_large, large_to_small"),
    ],
)
def test_what_cannot_be_is_told(choice, text):
    with pytest.raises(ValueError, match=text):
        build_mixing([choice])
