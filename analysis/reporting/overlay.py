"""A class map laid over its photo, with the colours' names."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.prediction.palette import PALETTE
from trainable.classes import CLASSES
from trainable.images.resampling import unscored_mask

OPACITY = 0.6


def overlay(photo: NDArray[np.uint8], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a photo (H, W, 3) with the colours of a class map (256, 256) over it; background stays as it is."""
    height, width = photo.shape[:2]
    full = unscored_mask(classes, height, width)
    mixed = photo * (1 - OPACITY) + PALETTE[full] * OPACITY
    return np.where(full[..., None] > 0, mixed, photo).astype(np.uint8)


def write_overlay(out: Path, photo: NDArray[np.uint8], classes: NDArray[np.uint8]) -> None:
    """Write the photo beside its overlay, and the colours of the classes on it."""
    height, width = photo.shape[:2]
    figure = Figure(figsize=(10, 5 * height / width + 0.5))
    left, right = figure.subplots(1, 2)
    left.imshow(photo)
    right.imshow(overlay(photo, classes))
    for axis in (left, right):
        axis.set_axis_off()
    present = [index for index in np.unique(classes) if index]
    patches = [Patch(facecolor=PALETTE[index] / 255, edgecolor="grey", label=CLASSES[index]) for index in present]
    if patches:
        figure.legend(handles=patches, loc="lower center", ncols=min(len(patches), 6), frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(out, dpi=110)
