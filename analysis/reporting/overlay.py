"""A mask laid over its photo, with the colours' names."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.prediction.mask_files import colours
from analysis.reporting.legend import add_legend
from trainable.classes import Classes

OPACITY = 0.6


def overlay(photo: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """Return a photo (H, W, 3) with the colours of a mask (H, W) over it; background stays as it is."""
    mixed = photo * (1 - OPACITY) + colours(classes)[mask] * OPACITY
    return np.where((mask >= classes.objects[0])[..., None], mixed, photo).astype(np.uint8)


def write_overlay(out: Path, photo: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Classes) -> None:
    """Write the photo beside its overlay, and the colours of the classes on it."""
    height, width = photo.shape[:2]
    figure = Figure(figsize=(10, 5 * height / width + 0.5))
    left, right = figure.subplots(1, 2)
    left.imshow(photo)
    right.imshow(overlay(photo, mask, classes))
    for axis in (left, right):
        axis.set_axis_off()
    present = [index for index in np.unique(mask).tolist() if index >= classes.objects[0]]
    taken = add_legend(figure, classes, present, fontsize=10)
    figure.tight_layout(rect=(0, max(taken, 0.06), 1, 1))
    figure.savefig(out, dpi=110)
