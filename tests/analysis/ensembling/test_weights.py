"""Ensemble weights on samples whose best answer is known."""

import numpy as np
import pytest
import torch

from analysis.ensembling.weights import SINGLE, class_weighted, fit_weights, fitted, greedy, sampled_miou
from analysis.pool.pixel_samples import Samples, at_pixels, whole_map
from analysis.prediction.views import VIEWS, View
from trainable.classes import CLASSES
from trainable.metric.score_maps import at_score_size

C = len(CLASSES)


def samples_of(members, pixels=4000, photos=20, seed=0, classes=C):
    """Members given by how often each is right: a wrong pixel of a member is a class at random."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, pixels).astype(np.uint8)
    values = np.zeros((len(members), classes, pixels), np.uint8)
    for member, right in enumerate(members):
        said = np.where(rng.random(pixels) < right, truth, rng.integers(0, classes, pixels))
        values[member] = rng.integers(0, 20, (classes, pixels))
        values[member, said, np.arange(pixels)] = rng.integers(40, 120, pixels)
    photo = (np.arange(pixels) * photos // pixels).astype(np.int32)
    return Samples(values, truth, np.ones(pixels, np.float32), photo, np.zeros((photos, classes, classes)))


@pytest.mark.parametrize("members", [(0.6, 0.6, 0.6), (0.3, 0.8, 0.5, 0.5, 0.2)])
def test_weights_are_shares(members):
    for name, weights in fit_weights(samples_of(members)).items():
        assert weights.shape == (len(members), C), name
        assert (weights >= 0).all(), name
        np.testing.assert_allclose(weights.sum(0), 1, err_msg=name)


@pytest.mark.parametrize("classes", [2, 16, 17, 19, 150])
def test_any_number_of_classes_has_weights(classes):
    samples = samples_of((0.97, 0.1, 0.1, 0.1), classes=classes)
    assert greedy(samples)[0] > 0.7
    for name, weights in fit_weights(samples).items():
        assert weights.shape == (4, classes), name
        np.testing.assert_allclose(weights.sum(0), 1, err_msg=name)


def test_members_that_err_apart_vote_better_than_any():
    samples = samples_of((0.6, 0.6, 0.6, 0.6))
    weights = greedy(samples)
    assert (weights > 0.1).all()
    alone = max(sampled_miou(samples, [member]) for member in range(4))
    assert sampled_miou(samples, [0, 1, 2, 3]) > alone + 0.05


def test_one_far_better_than_the_others_is_left_alone():
    samples = samples_of((0.97, 0.1, 0.1, 0.1, 0.1, 0.1))
    assert greedy(samples)[0] > 0.8
    assert fit_weights(samples)[SINGLE][0, 0] == 1


def test_a_noisy_member_gets_less_than_a_good_one():
    samples = samples_of((0.7, 0.7, 0.15))
    for weights in (greedy(samples), fitted(samples, np.full(3, 1 / 3))):
        assert weights[2] < min(weights[:2])


def test_who_knows_a_class_has_a_say_in_it():
    ious = np.full((2, C), 0.5)
    ious[0, 3], ious[1, 3] = 0.9, 0.1
    weights = class_weighted(ious, np.array([0.5, 0.5]))
    assert weights[0, 3] == pytest.approx(0.9) and weights[0, 2] == pytest.approx(0.5)


def test_a_class_nobody_knows_keeps_the_plain_weights():
    ious = np.full((2, C), 0.5)
    ious[:, 9] = np.nan
    np.testing.assert_allclose(class_weighted(ious, np.array([0.7, 0.3]))[:, 9], [0.7, 0.3])


def test_pixels_agreed_on_count_whatever_the_weights():
    whole = samples_of((0.6, 0.6))
    agreed = np.zeros((20, C, C))
    agreed[0] = np.eye(C) * 1e6
    assert sampled_miou(Samples(whole.values, whole.truth, whole.weight, whole.photo, agreed), [0]) > 0.99


@pytest.mark.parametrize("size", [32, 96, 160, 256])
def test_pixels_are_those_of_the_whole_map_enlarged(size):
    rng = np.random.default_rng(size)
    each = rng.integers(0, 256, (C, size, size)).astype(np.uint8)
    pixels = rng.integers(0, 256 * 256, 300)
    whole = whole_map(each).reshape(C, -1)[:, pixels]
    assert np.abs(at_pixels(each, pixels).astype(float) - whole).max() <= 0.51


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_turned_back_is_the_photo(name):
    view = VIEWS[name]
    photos = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    shown = view.show(photos).permute(0, 3, 1, 2).float()
    assert torch.equal(view.turn_back(shown), photos.permute(0, 3, 1, 2).float())


def test_views_at_other_scales_have_sides_networks_take():
    assert View(scale=1.25).size(160) == 192 and View(scale=0.75).size(512) == 384
    assert View().size(100) == 100  # as trained
    assert View(scale=1.5).cost(256) == 2.25


def test_probabilities_reach_the_score_size():
    for side in (128, 256, 512):
        found = at_score_size(torch.rand(1, C, side, side).softmax(1))
        assert found.shape[-2:] == (256, 256)
        torch.testing.assert_close(found.sum(1), torch.ones(1, 256, 256))
