"""Confusion matrices and the IoU that follows from them. N photos, C classes, rows are truth, columns prediction."""

import torch
from torch import Tensor

LANES = 4
"""Bins per pair of classes; more gain nothing."""


def confusion_matrices(truth: Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Count the pixels of each (truth, prediction) pair per photo, on the device the tensors are on.

    Args:
        truth: (N, H, W) class indices; pixels of `IGNORE_INDEX`, or any index from C on, are left out.
        prediction: (N, H, W) class indices.
        classes: C.

    Returns:
        (N, C, C) int64, counted at once.
    """
    photos, width = len(truth), truth.shape[2]
    # A row more takes the ignored pixels, whose index is above all classes; it is cut off below.
    bins = (classes + 1) * classes
    small = torch.uint8 if bins <= 256 else torch.int32
    pair = truth.to(small).clamp(max=classes).mul_(classes).add_(prediction.to(small))
    # Neighbours of one class in the same bin would wait for each other's count, so columns take turns.
    wide = torch.int16 if LANES * photos * bins < 2**15 else torch.int32
    photo = torch.arange(photos, device=truth.device)[:, None, None] * LANES
    lane = torch.arange(width, device=truth.device) % LANES
    offset = ((photo + lane) * bins).to(wide)
    counts = _counts((pair.to(wide) + offset).flatten(), LANES * photos * bins)
    return counts.view(photos, LANES, classes + 1, classes).sum(1)[:, :classes]


def _counts(indices: Tensor, bins: int) -> Tensor:
    """Return how often each index comes, (bins,) int64."""
    if indices.device.type == "cpu":
        return torch.bincount(indices, minlength=bins)
    # On a GPU bincount waits for the largest index to be known; adding whole numbers comes to the same in any order.
    indices = indices.long()
    return torch.zeros(bins, dtype=torch.int64, device=indices.device).scatter_add_(
        0, indices, torch.ones_like(indices)
    )


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
