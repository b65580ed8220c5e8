"""Confusion matrices and the IoU that follows from them. N photos, C classes, rows are truth, columns prediction."""

import torch
from torch import Tensor

from trainable.coco import IGNORE_INDEX


def confusion_matrices(truth: Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Count the pixels of each (truth, prediction) pair per photo, on the device the tensors are on.

    Args:
        truth: (N, H, W) class indices; pixels of IGNORE_INDEX are left out.
        prediction: (N, H, W) class indices.
        classes: C.

    Returns:
        (N, C, C) int64, by a single bincount.
    """
    photos = len(truth)
    # One row more takes the ignored pixels; it is cut off below.
    row = truth.to(torch.int32).masked_fill_(truth == IGNORE_INDEX, classes)
    row += torch.arange(photos, device=truth.device, dtype=torch.int32)[:, None, None] * (classes + 1)
    pair = row.mul_(classes).add_(prediction)
    counts = torch.bincount(pair.flatten(), minlength=photos * (classes + 1) * classes)
    return counts.view(photos, classes + 1, classes)[:, :classes]


def class_iou(matrix: Tensor) -> Tensor:
    """Return the IoU per class, (C,) float64, of a confusion matrix; NaN where neither truth nor prediction has it."""
    matrix = matrix.double()
    hits = matrix.diagonal()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)


def mean_iou(matrix: Tensor) -> float:
    """Return the competition's mIoU: the mean over the classes in truth or prediction, background among them."""
    return float(class_iou(matrix).nanmean())


def resize_classes(classes: Tensor, size: int) -> Tensor:
    """Resize class maps (N, H, W) to (N, size, size) by the nearest pixel, as the competition shrinks submissions."""
    height, width = classes.shape[1:]
    if (height, width) == (size, size):
        return classes
    rows = torch.arange(size, device=classes.device) * height // size
    columns = torch.arange(size, device=classes.device) * width // size
    return classes[:, rows[:, None], columns[None, :]]
