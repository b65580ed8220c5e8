import numpy as np
import pytest

from analysis.pseudo_labels.thresholds import Rule, histogram_of, kept_pixels, labels_of
from trainable.classes import IGNORE_INDEX


@pytest.fixture
def prediction():
    """A photo of mostly sure background and little, unsure paper."""
    rng = np.random.default_rng(0)
    classes = (rng.random((256, 256)) < 0.1).astype(np.uint8) * 2
    confidence = np.where(classes == 0, rng.integers(230, 256, classes.shape), rng.integers(60, 180, classes.shape))
    return classes, confidence.astype(np.uint8)


def test_histogram_counts_every_pixel_once(prediction):
    histogram = histogram_of(*prediction, 11)
    assert histogram.shape == (11, 256)
    assert histogram.sum() == 256 * 256
    assert histogram[2, 100] == ((prediction[0] == 2) & (prediction[1] == 100)).sum()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 1.0])
def test_each_class_keeps_its_share_and_no_more_than_it_takes(prediction, keep):
    histogram = histogram_of(*prediction, 11)
    thresholds = Rule(keep=keep, min_confidence=0.01).thresholds(histogram)
    kept, stricter = kept_pixels(histogram, thresholds), kept_pixels(histogram, thresholds + 1)
    for index in (0, 2):
        assert kept[index] >= keep * histogram[index].sum() > stricter[index]
    labels = labels_of(*prediction, thresholds)
    assert (labels == 2).sum() == kept[2]
    np.testing.assert_array_equal(labels[labels != IGNORE_INDEX], prediction[0][labels != IGNORE_INDEX])
    assert prediction[1][labels == 2].min() == max(thresholds[2], 60)


def test_unsure_class_is_bounded_below_and_one_threshold_is_the_same_for_all(prediction):
    histogram = histogram_of(*prediction, 11)
    bounded = Rule(keep=0.9, min_confidence=0.5).thresholds(histogram)
    assert bounded[2] == 128
    assert bounded[0] > 128
    assert Rule(threshold=0.6).thresholds(histogram).tolist() == [153] * 11
    assert kept_pixels(histogram, Rule(threshold=0.8).thresholds(histogram))[2] == 0


def test_class_that_is_never_predicted_has_the_lowest_bound_at_least():
    thresholds = Rule().thresholds(np.zeros((11, 256), np.int64))
    assert thresholds.min() >= 102


@pytest.mark.parametrize(("given", "text"), [({"keep": 0.0}, "--keep must be above 0 and at most 1, found 0"),
                                             ({"min_confidence": 1.5}, "--min-confidence must be"),
                                             ({"threshold": -1.0}, "--threshold must be")])  # fmt: skip
def test_shares_out_of_range_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        Rule(**given)
