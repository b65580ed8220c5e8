import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from trainable.classes import IGNORE_INDEX
from trainable.metric.confusion import class_iou, confusion_matrices, mean_iou, resize_classes


def test_miou_by_hand():
    truth = torch.tensor([[[0, 0, 1], [1, 2, 2]]])
    prediction = torch.tensor([[[0, 1, 1], [1, 2, 0]]])
    matrix = confusion_matrices(truth, prediction, 4).sum(0)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    # class 3 is in neither, so it does not count
    assert class_iou(matrix)[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2], abs=1e-12)
    assert class_iou(matrix)[3].isnan()
    assert mean_iou(matrix) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3, abs=1e-12)


def test_class_predicted_but_never_there_counts_as_zero():
    matrix = confusion_matrices(torch.zeros(1, 1, 4), torch.tensor([[[0, 0, 0, 1]]]), 3).sum(0)
    assert mean_iou(matrix) == pytest.approx((3 / 4 + 0) / 2, abs=1e-12)


def test_equals_a_count_per_photo_and_leaves_out_ignored_pixels():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 11, (5, 16, 16)).astype(np.uint8)
    truth[:, :2] = IGNORE_INDEX
    prediction = rng.integers(0, 11, (5, 16, 16)).astype(np.uint8)
    expected = np.zeros((5, 11, 11), int)
    for photo, row, column in np.ndindex(truth.shape):
        if truth[photo, row, column] != IGNORE_INDEX:
            expected[photo, truth[photo, row, column], prediction[photo, row, column]] += 1
    found = confusion_matrices(torch.from_numpy(truth), torch.from_numpy(prediction), 11)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("size", [64, 96, 192, 256, 512])
def test_resizes_as_the_competition_does(size):
    classes = np.random.default_rng(size).integers(0, 11, (2, size, size)).astype(np.uint8)
    shrink = A.Resize(256, 256, mask_interpolation=cv2.INTER_NEAREST)
    expected = [shrink(image=np.zeros((size, size, 3), np.uint8), mask=each)["mask"] for each in classes]
    np.testing.assert_array_equal(resize_classes(torch.from_numpy(classes), 256).numpy(), np.stack(expected))
