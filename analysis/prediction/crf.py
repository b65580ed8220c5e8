"""Dense conditional random fields over the ensemble's probabilities. Source: Krähenbühl and Koltun 2011.

Imports neither PyTorch nor anything that does: processes that run it are light.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from pydensecrf.densecrf import DenseCRF2D
except ImportError:  # not made for Python 3.13
    DenseCRF2D = None

FLOOR = 1e-3
"""Smallest probability: 8 bits have none between 0 and a 255th, and the energy is its logarithm."""


def available() -> bool:
    """Tell whether pydensecrf2 is installed."""
    return DenseCRF2D is not None


def refine(
    probabilities: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    *,
    near: float,
    alike: float,
    colour: float,
    smooth_weight: float,
    colour_weight: float,
    iterations: int,
) -> NDArray[np.uint8]:
    """Return probabilities times 255 (C, H, W) after mean-field inference.

    Args:
        probabilities: times 255, (C, H, W).
        photo: RGB, (H, W, 3).
        near: pixels within which neighbours of any colour agree.
        alike: pixels within which neighbours of like colour agree.
        colour: how far apart like colours may be, of 255.
        smooth_weight: of agreeing with neighbours of any colour.
        colour_weight: of agreeing with neighbours of like colour.
        iterations: of the inference.

    Raises:
        RuntimeError: pydensecrf2 is not installed.
    """
    if DenseCRF2D is None:
        raise RuntimeError("DenseCRF needs pydensecrf2, which is not there on Python 3.13; use 3.10 to 3.12")
    classes, height, width = probabilities.shape
    field = DenseCRF2D(width, height, classes)
    energy = -np.log(np.maximum(probabilities.reshape(classes, -1).astype(np.float32) / 255, FLOOR))
    field.setUnaryEnergy(np.ascontiguousarray(energy))
    field.addPairwiseGaussian(sxy=near, compat=smooth_weight)
    image = np.ascontiguousarray(photo)
    field.addPairwiseBilateral(sxy=alike, srgb=colour, rgbim=image, compat=colour_weight)
    refined = np.asarray(field.inference(iterations)).reshape(classes, height, width)
    return np.rint(refined * 255).astype(np.uint8)


def refine_all(
    executor: Executor, maps: Sequence[NDArray[np.uint8]], photos: Sequence[NDArray[np.uint8]], params: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    """Refine many photos' probabilities in the executor's processes, in order."""
    tasks = [(probabilities, photo, params) for probabilities, photo in zip(maps, photos, strict=True)]
    return executor.map(_refine_one, tasks)


def _refine_one(task: tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]) -> NDArray[np.uint8]:
    probabilities, photo, params = task
    return refine(probabilities, photo, **params)
