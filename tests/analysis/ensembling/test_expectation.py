"""What is expected on unseen photos: how far choosing flatters, and that the interval holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ensembling.expectation import HELD, LUCK, epoch_luck, expect, trial_luck
from trainable.metric.paired_comparison import miou


def photos(rng, count, quality, classes=4):
    """Return tallies of photos whose classes a model of a quality hits, (N, 2C)."""
    sizes = rng.exponential(1000, (count, classes)) * (rng.random((count, classes)) < 0.6)
    ious = np.clip(rng.normal(quality, 0.2, (count, classes)), 0, 1)
    return np.concatenate([sizes * ious, sizes], axis=1)


def test_the_interval_holds_the_miou_of_unseen_photos_as_often_as_it_says():
    held = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        quality = rng.uniform(0.3, 0.7)
        found = expect(photos(rng, 60, quality), 80, seed=seed)
        shown = miou(photos(rng, 80, quality)) + rng.normal(scale=0.015)
        held.append(found.low <= shown <= found.high)
    assert np.mean(held) >= HELD - 0.06


def test_fewer_unseen_photos_are_less_sure():
    found = photos(np.random.default_rng(0), 60, 0.5)
    few, many = expect(found, 20), expect(found, 2000)
    assert few.high - few.low > many.high - many.low and few.value == many.value == pytest.approx(miou(found))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=60))
def test_epoch_luck_is_a_share_of_what_the_best_epoch_stands_out_by(curve):
    assert 0 <= epoch_luck(curve) <= LUCK * (max(curve, default=0) - min(curve, default=0)) + 1e-12


def test_a_lone_peak_is_luck_and_a_plateau_is_not():
    assert epoch_luck([0.2] * 10 + [0.3] + [0.2] * 9) == pytest.approx(LUCK * 0.1)
    assert epoch_luck([0.2] * 20) == 0


def test_the_best_of_equal_trials_flatters_and_a_clear_winner_does_not():
    luck, errors = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        equal = [photos(np.random.default_rng([seed, each]), 60, 0.5) for each in range(8)]
        values = [miou(each) for each in equal]
        luck.append(trial_luck(equal, seed))
        errors.append(max(values) - np.mean(values))
        ahead = photos(rng, 60, 0.95)
        assert trial_luck([*equal[:3], ahead], seed) < 0.4 * luck[-1] + 0.01
    assert np.mean(luck) == pytest.approx(np.mean(errors), rel=0.35)
    assert trial_luck(equal[:1]) == 0


def test_what_was_chosen_is_taken_off_and_told():
    found = expect(photos(np.random.default_rng(0), 60, 0.5), 90, epochs=0.012, trial=0.02)
    assert found.value == pytest.approx(found.measured - 0.032)
    assert (
        "best epochs -0.012" in found.describe()
        and "best trial -0.020" in found.describe()
        and "90 unseen" in found.describe()
    )
    assert found.record()["photos"] == 90
