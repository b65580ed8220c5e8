import cv2
import numpy as np
import pytest

from trainable.classes import IGNORE_INDEX
from trainable.dataset.label_confidence import shrink_confidence
from trainable.images.resampling import unscored_mask

SIZES = [(120, 160), (300, 200), (256, 256), (97, 500)]


def labelled(seed, pieces=40):
    """Labels (256, 256) in pieces, a fifth of them ignored, and how sure they are: each class otherwise, ignored 0."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((256, 256), np.uint8)
    for _ in range(pieces):
        y, x, h, w = rng.integers(0, 200, 2).tolist() + rng.integers(2, 90, 2).tolist()
        labels[y : y + h, x : x + w] = rng.choice([*range(11), IGNORE_INDEX, IGNORE_INDEX])
    return labels, np.where(labels == IGNORE_INDEX, 0, 100 + 13 * labels.astype(int)).astype(np.uint8)


def nearest(mask, size):
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)


def centred(mask, size):
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def voted(mask, size):
    how = cv2.INTER_AREA if size < min(mask.shape) else cv2.INTER_LINEAR
    values = np.unique(mask)
    shares = [cv2.resize((mask == value).astype(np.float32), (size, size), interpolation=how) for value in values]
    return values[np.argmax(shares, axis=0)]


@pytest.mark.parametrize("shrink", [nearest, centred, voted])
@pytest.mark.parametrize("shape", SIZES)
def test_label_keeps_its_own_confidence_at_every_size(shrink, shape):
    labels, confidence = labelled(sum(shape))
    mask = unscored_mask(labels, *shape)
    for size in (32, 64, 77, 96, 128, 160, 192, 256, 300, 512):
        small = shrink(mask, size)
        found = shrink_confidence(confidence, mask, small).astype(int)
        kept = small != IGNORE_INDEX
        np.testing.assert_array_equal(found[kept], 100 + 13 * small[kept].astype(int))


def test_confidence_is_the_mean_by_area_of_the_pixels_with_the_label():
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [2, 2, 2, 2], [IGNORE_INDEX, 2, 2, 2]], np.uint8)
    sure = np.array([[10, 20, 8, 8], [60, 250, 8, 8], [1, 2, 50, 60], [0, 6, 70, 80]], np.uint8)
    small = np.array([[1, 0], [2, 2]], np.uint8)
    assert shrink_confidence(sure, mask, small).tolist() == [[30, 8], [3, 65]]


def test_equal_sizes_change_nothing_and_confidences_of_another_size_lie_where_the_labels_do():
    labels, _ = labelled(1)
    sure = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    np.testing.assert_array_equal(shrink_confidence(sure, labels, labels), sure)
    large = unscored_mask(labels, 512, 384)
    np.testing.assert_array_equal(shrink_confidence(sure, large, large[::2, ::2]).shape, (256, 192))
    enlarged = unscored_mask(sure, 512, 384)
    np.testing.assert_array_equal(shrink_confidence(sure, large, large), enlarged)
