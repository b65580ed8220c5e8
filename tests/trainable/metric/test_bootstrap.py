import numpy as np
import pytest
import torch

from trainable.metric.bootstrap import difference_interval, mean_ious, miou_interval, resamples
from trainable.metric.confusion import mean_iou


def photos(count=60, seed=0, right=0.7):
    """Confusion matrices of photos of 100 pixels in three classes."""
    rng = np.random.default_rng(seed)
    matrices = np.zeros((count, 4, 4), int)
    for matrix in matrices:
        truth = rng.integers(0, 3, 100)
        prediction = np.where(rng.random(100) < right, truth, rng.integers(0, 3, 100))
        np.add.at(matrix, (truth, prediction), 1)
    return matrices


def test_value_is_the_metric_and_absent_classes_are_left_out():
    matrices = photos()  # class 3 is in neither truth nor prediction
    assert mean_ious(matrices)[0] == pytest.approx(mean_iou(torch.from_numpy(matrices).sum(0)))
    assert miou_interval(matrices).value == mean_ious(matrices)[0]


def test_interval_holds_the_truth_about_as_often_as_it_says():
    truth = mean_ious(photos(5000, seed=99))[0]
    found = [miou_interval(photos(seed=seed)) for seed in range(60)]
    assert 0.85 <= np.mean([each.low <= truth <= each.high for each in found]) <= 1
    assert all(each.low < each.value < each.high for each in found)


def test_a_class_that_few_photos_show_makes_a_value_less_sure():
    matrices = photos(80, right=0.7)
    matrices[1:, 2, :] = matrices[1:, :, 2] = 0  # the third class is in one photo only
    few = miou_interval(matrices)
    drawn = mean_ious(matrices, resamples(80))
    assert few.high - few.low > 1.2 * np.subtract(*np.percentile(drawn, (97.5, 2.5)))
    many = photos(80)
    plain = np.subtract(*np.percentile(mean_ious(many, resamples(80)), (97.5, 2.5)))
    assert miou_interval(many).high - miou_interval(many).low == pytest.approx(plain, rel=0.15)


def test_a_perfect_model_is_perfect():
    matrices = np.tile(np.diag([50, 30, 20, 0]), (20, 1, 1))
    found = miou_interval(matrices)
    assert (found.value, found.low, found.high) == (1, pytest.approx(1), pytest.approx(1))


def test_pairing_tells_small_differences_apart():
    better = photos(seed=1)
    worse = better.copy()
    worse[:, 0, 1] += 1
    paired = difference_interval(better, worse)
    assert 0 < paired.low < paired.value < paired.high
    assert miou_interval(better).low < miou_interval(worse).high  # not seen without it
    same = difference_interval(better, better)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="of the same photos"):
        difference_interval(better, worse[:-1])
