"""The gate: planted steps that help, do nothing or harm."""

import numpy as np
import pytest

from analysis.ensembling.acceptance import best_option, judge, without_own_part
from analysis.ensembling.filter_fitting import class_factors, crf_options
from analysis.prediction import crf
from analysis.prediction.filters import class_map, scaled, without_small
from tests.analysis.ensembling.test_weights import samples_of
from trainable.classes import CLASSES

C = len(CLASSES)


def confusions(right, photos=60, seed=0):
    """Photos of which a share of the pixels is right."""
    rng = np.random.default_rng(seed)
    found = np.zeros((photos, C, C), np.int64)
    for photo in range(photos):
        share = np.clip(right + rng.normal(0, 0.05), 0, 1)
        hits = np.round(1000 * share).astype(int)
        found[photo] += np.eye(C, dtype=int) * hits
        found[photo, np.arange(C), (np.arange(C) + 1) % C] += 1000 - hits
    return found


def test_a_planted_no_op_is_rejected():
    before = confusions(0.6)
    gate = judge("nothing", before, before.copy(), {})
    assert not gate.accepted and gate.gain.value == 0
    assert "does not lie above 0" in gate.reason


def test_a_planted_helpful_step_is_accepted():
    gate = judge("good", confusions(0.6), confusions(0.7), {"size": 3})
    assert gate.accepted and gate.gain.low > 0.05
    assert gate.record().params == {"size": 3}


def test_a_planted_harmful_step_and_chance_are_rejected():
    assert not judge("bad", confusions(0.7), confusions(0.6), {}).accepted
    assert not judge("chance", confusions(0.6, seed=1), confusions(0.6, seed=2), {}).accepted


def test_options_are_chosen_without_the_photos_that_judge_them():
    """Each option is perfect on its own part alone: chosen honestly, no part gets the one that knows it."""
    part = np.arange(60) % 3
    options = [np.where((part == own)[:, None, None], confusions(0.95), confusions(0.4)) for own in range(3)]
    after, chosen = without_own_part(options, part)
    assert all(option != own for own, option in chosen.items())
    assert not judge("overfitted", confusions(0.5), after, {}).accepted
    assert best_option(options, part == 1) == 1


def test_small_pieces_become_background_and_no_other():
    classes = np.zeros((64, 64), np.uint8)
    classes[2:4, 2:4] = 5
    classes[20:40, 20:40] = 5
    classes[50:53, 50:53] = 7
    found = without_small(classes, 8)
    assert found[2, 2] == 0 and found[30, 30] == 5 and found[51, 51] == 7
    assert not without_small(classes, 401).any()
    assert without_small(classes, 0) is classes


def test_without_background_small_pieces_join_what_is_around_them():
    classes = np.full((40, 60), 2, np.uint8)
    classes[:, 30:] = 1
    classes[5:8, 5:8] = 0  # in 2
    classes[20:22, 40:42] = 2  # in 1
    classes[30:33, 28:31] = 0  # at the edge of both, more of 2 around it
    classes[10:30, 10:25] = 0  # large
    classes[15:17, 15:17] = 1  # in 0
    found = without_small(classes, 16, background=False)
    assert found[6, 6] == 2 and found[21, 41] == 1 and found[31, 29] == 2
    assert found[12, 12] == 0 and found[16, 16] == 0
    np.testing.assert_array_equal(without_small(found, 16, background=False), found)
    only = np.zeros((4, 4), np.uint8)
    np.testing.assert_array_equal(without_small(only, 99, background=False), only)  # nothing is around it


def test_filters_see_nothing_beyond_the_photo():
    """A piece at the photo's edge goes on in the padding, which does not make it larger."""
    each = np.zeros((3, 16, 16), np.uint8)
    each[0], each[1, :, 9:] = 100, 200
    photo = np.zeros((12, 10, 3), np.uint8)
    assert not class_map(each, photo, [{"name": "small pieces", "pixels": 13}]).any()
    kept = class_map(each, photo, [{"name": "small pieces", "pixels": 12}])
    assert kept.shape == (16, 16) and (kept[:, 9:] == 1).all() and not kept[:, :9].any()


def test_class_factors_find_a_class_that_is_said_too_rarely():
    samples = samples_of((0.6,))
    samples.values[0, 4] //= 3
    factors = class_factors(samples)
    assert factors[4] >= 1.6


def test_filters_run_in_order_and_unknown_ones_are_told():
    each = np.zeros((C, 8, 8), np.uint8)
    each[0], each[1] = 130, 120
    photo = np.zeros((8, 8, 3), np.uint8)
    assert not class_map(each, photo, []).any()
    factors = [1.0, 2.0] + [1.0] * (C - 2)
    assert (class_map(each, photo, [{"name": "class factors", "factors": factors}]) == 1).all()
    filters = [{"name": "class factors", "factors": factors}, {"name": "small pieces", "pixels": 100}]
    assert not class_map(each, photo, filters).any()
    assert scaled(each, factors)[1, 0, 0] == 240
    with pytest.raises(ValueError, match="unknown filter 'blur'"):
        class_map(each, photo, [{"name": "blur"}])


def test_crf_parameters_cover_their_ranges_whatever_the_scores():
    def drawn(scores):
        found = []
        for (study, trial, params), score in zip(crf_options(8), scores, strict=True):
            study.tell(trial, score)
            found.append(params)
        return found

    some = drawn(range(8))
    assert some == drawn(range(8, 0, -1))
    assert len({tuple(params.values()) for params in some}) == 8


@pytest.mark.skipif(not crf.available(), reason="pydensecrf2 is not installed")
def test_the_crf_mends_a_speckled_map_of_a_clear_photo():
    rng = np.random.default_rng(0)
    truth = np.zeros((64, 64), np.uint8)
    truth[16:48, 16:48] = 6
    photo = np.where(truth[..., None] > 0, 220, 30).astype(np.uint8).repeat(3, axis=2)
    said = np.where(rng.random(truth.shape) < 0.2, 6 - truth, truth)
    each = np.full((C, 64, 64), 5, np.uint8)
    np.put_along_axis(each, said[None].astype(np.int64), 150, axis=0)
    params = {"near": 3, "alike": 30, "colour": 10, "smooth_weight": 1, "colour_weight": 5, "iterations": 5}
    found = crf.refine(each, photo, **params)
    assert found.shape == each.shape and found.dtype == np.uint8
    assert (each.argmax(0) == truth).mean() < 0.85 < 0.99 < (found.argmax(0) == truth).mean()
