import numpy as np
import pytest

from analysis.results.significance import group_letters, letter, places
from trainable.metric.bootstrap import difference_interval, miou_interval, resamples


def models(count, photos=50, classes=4):
    """Confusion matrices of models on the same photos, each a little worse than the one before."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 30, (photos, classes, classes)) + 100 * np.eye(classes, dtype=int)
    return [first + step * (1 - np.eye(classes, dtype=int)) for step in range(count)]


def test_intervals_are_those_of_the_bootstrap():
    confusions = models(3)
    placed = places(confusions)
    for each, place in zip(confusions, placed, strict=True):
        assert place.interval == miou_interval(each)
        paired = difference_interval(each, confusions[0])
        assert place.less_best.value == pytest.approx(paired.value)
        if each is not confusions[0]:  # for all three pairs together
            assert place.less_best.low < paired.low < paired.high < place.less_best.high
    assert [place.group for place in placed] == ["A", "B", "C"]  # pairing sees what the intervals do not
    assert placed[1].interval.high > placed[0].interval.low


def test_trials_within_noise_are_one_group():
    whole, counts = 0, resamples(60, draws=500)
    for seed in range(60):  # the best of ten was lucky each time
        photos = np.random.default_rng(seed).normal(0.5, 0.1, (10, 60))
        whole += set(group_letters(photos.mean(1), photos @ counts.T / 60, 60)) == {"A"}
    assert whole >= 57


def test_groups_begin_with_the_best_of_the_rest_whatever_the_order():
    values = np.array([0.1, 0.5, 0.3, 0.5])
    resampled = values[:, None] + np.zeros((4, 100))
    assert group_letters(values, resampled, 9) == ["C", "A", "B", "A"]
    assert places([]) == []


def test_a_class_on_no_photo_is_left_out():
    confusion = models(1)[0]
    wider = np.zeros((50, 5, 5), int)
    wider[:, :4, :4] = confusion
    assert places([wider])[0].interval.value == places([confusion])[0].interval.value


def test_letters_go_on_after_z():
    assert [letter(index) for index in (0, 25, 26, 27, 52, 702)] == ["A", "Z", "AA", "AB", "BA", "AAA"]
