from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from trainable.classes import CLASSES
from trainable.pipeline.object_patches import find_patches, rarest_classes
from trainable.pipeline.oversampling import build_draws

POSITIONS = np.arange(20)


@pytest.fixture
def skewed(tiny_cache):
    """Class 1 on every photo, class 2 on a quarter, class 3 on one; nothing else. Half of the photos are plain."""
    pixels = np.zeros((20, len(CLASSES)), np.int64)
    pixels[:, 0], pixels[:, 1] = 100, 400
    pixels[:10, 0] = 9000
    pixels[:5, 2] = 50
    pixels[7, 3] = 50
    masks = np.zeros((20, 32, 32), np.uint8)
    masks[:, 2:8, 2:8] = 1
    masks[:5, 20:24, 20:24] = 2
    masks[7, 16:26, 16:26] = 3
    return replace(tiny_cache, class_pixels=pixels, masks=masks)


def drawn(draws, epochs=200):
    counts = Counter()
    for epoch in range(epochs):
        found = draws.epoch(np.random.default_rng(epoch))
        assert len(found) == len(draws.positions)
        counts.update(position for position, _ in found)
    return np.array([counts[position] for position in draws.positions]) / epochs


def test_without_oversampling_every_photo_comes_once(skewed):
    draws = build_draws({"name": "none"}, skewed, POSITIONS)
    found = draws.epoch(np.random.default_rng(0))
    assert sorted(position for position, _ in found) == list(range(20))
    assert not any(pasted for _, pasted in found)
    assert [position for position, _ in found] != list(range(20))


def test_repeat_factor_draws_by_the_rarest_class_below_the_threshold(skewed):
    draws = build_draws({"name": "repeat_factor", "ratio": 1.0, "threshold": 0.45}, skewed, POSITIONS)
    extra = np.zeros(20)
    extra[:5], extra[7] = np.sqrt(0.45 / 0.25) - 1, np.sqrt(0.45 / 0.05) - 1
    np.testing.assert_allclose(draws.weights, extra / extra.sum())
    often = drawn(draws)
    assert often[7] > often[:5].mean() > often[8:].mean() == pytest.approx(0.5, abs=0.05)


def test_no_class_as_rare_as_the_threshold_leaves_the_draws_ordinary(skewed):
    assert build_draws({"name": "repeat_factor", "threshold": 0.04}, skewed, POSITIONS).weights is None


def test_class_balanced_draws_each_class_alike(skewed):
    weights = build_draws({"name": "class_balanced"}, skewed, POSITIONS).weights
    assert weights[7] == pytest.approx((1 / 20 + 1) / 3)
    assert weights[0] == pytest.approx((1 / 20 + 1 / 5) / 3)
    assert weights[15] == pytest.approx(1 / 20 / 3)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
def test_ratio_is_rare_draws_for_each_ordinary_one(skewed, ratio):
    draws = build_draws({"name": "paste", "ratio": ratio, "rare": 1}, skewed, POSITIONS)
    pasted = sum(pasted for _, pasted in draws.epoch(np.random.default_rng(0)))
    assert pasted == round(20 * ratio / (1 + ratio))


def test_paste_takes_patches_of_the_rarest_classes_within_the_areas(skewed):
    assert rarest_classes(skewed, POSITIONS, 2) == (3, 2)
    draws = build_draws({"name": "paste", "rare": 1, "min_area": 0.05, "max_area": 0.2}, skewed, POSITIONS)
    assert {patch.class_index for patch in draws.patches} == {3}
    assert [patch.area for patch in draws.patches] == [100 / 1024]
    both = build_draws({"name": "paste", "rare": 2, "min_area": 0.0, "max_area": 0.2}, skewed, POSITIONS)
    assert len(both.patches) == 6
    chosen = Counter(both.patch(np.random.default_rng(seed)).class_index for seed in range(200))
    assert chosen[3] > 70  # one patch of six, but one class of two


def test_plain_backgrounds_are_mostly_background(skewed):
    draws = build_draws({"name": "paste", "rare": 1, "backgrounds": "plain"}, skewed, POSITIONS)
    np.testing.assert_allclose(draws.weights, [0.1] * 10 + [0] * 10)


def test_training_photos_alone_are_drawn_and_searched_for_patches(skewed):
    train = np.arange(8, 20)
    for name in ("none", "repeat_factor", "class_balanced"):
        draws = build_draws({"name": name}, skewed, train)
        assert {position for position, _ in draws.epoch(np.random.default_rng(0))} <= set(range(8, 20))
    assert {patch.position for patch in find_patches(skewed, train, range(1, 11))} == set(range(8, 20))


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"name": "paste", "rare": 1, "min_area": 0.3, "max_area": 0.4}, "no patch .* 0.3 to 0.4 .* cover 0.098"),
        ({"name": "paste", "min_area": 0.4, "max_area": 0.3}, "min_area < max_area"),
        ({"name": "paste", "backgrounds": "white"}, "backgrounds must be one of any, plain, found 'white'"),
        ({"name": "paste", "rare": 0}, "rare must be at least 1 class"),
        ({"name": "class_balanced", "ratio": -1.0}, "ratio is rare draws for each ordinary one"),
        ({"name": "repeat_factor", "threshold": 0.0}, "threshold is a share of the photos"),
        ({"name": "pasted"}, "unknown oversampling 'pasted'; did you mean 'paste'"),
    ],
)
def test_what_cannot_be_is_told(skewed, choice, text):
    with pytest.raises(ValueError, match=text):
        build_draws(choice, skewed, POSITIONS)


def test_paste_needs_a_plain_background(skewed):
    cluttered = replace(skewed, class_pixels=np.where(np.arange(11) == 0, 1, skewed.class_pixels))
    with pytest.raises(ValueError, match="no training photo is 70% background"):
        build_draws({"name": "paste", "backgrounds": "plain"}, cluttered, POSITIONS)
