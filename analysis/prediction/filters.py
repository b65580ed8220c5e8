"""What is done with an ensemble's probabilities on their way to a class map, as `ensemble.json` lists it.

{"name": "crf", ...}              see `analysis/prediction/crf.py`
{"name": "class factors", "factors": [...]}   each class's probability times a factor
{"name": "small pieces", "pixels": 32}        connected pieces below a size become background
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from analysis.prediction import crf
from trainable.classes import CLASSES

Filter = Mapping[str, Any]
"""Its name and parameters."""


def class_map(each: NDArray[np.uint8], photo: NDArray[np.uint8], filters: Sequence[Filter]) -> NDArray[np.uint8]:
    """Return the class indices (H, W) of probabilities times 255 (C, H, W) after filters; the photo is (H, W, 3).

    Raises:
        ValueError: an unknown filter.
    """
    pixels = 0
    values: NDArray[Any] = each
    for chosen in filters:
        params = {name: value for name, value in chosen.items() if name != "name"}
        if chosen["name"] == "crf":
            values = crf.refine(values, photo, **params)
        elif chosen["name"] == "class factors":
            values = scaled(values, params["factors"])
        elif chosen["name"] == "small pieces":
            pixels = params["pixels"]
        else:
            raise ValueError(f"unknown filter {chosen['name']!r}; known are crf, class factors and small pieces")
    return without_small(values.argmax(0).astype(np.uint8), pixels)


def class_maps(
    maps: Sequence[NDArray[np.uint8]],
    photos: Sequence[NDArray[np.uint8]],
    filters: Sequence[Filter],
    executor: Executor | None = None,
) -> list[NDArray[np.uint8]]:
    """Return the class maps of several photos, in the executor's processes if one is given; see `class_map`."""
    paired = photos if filters else maps  # without filters no photo is looked at
    tasks = [(probabilities, photo, filters) for probabilities, photo in zip(maps, paired, strict=True)]
    return list(executor.map(_one, tasks)) if executor else [_one(task) for task in tasks]


def _one(task: tuple[NDArray[np.uint8], NDArray[np.uint8], Sequence[Filter]]) -> NDArray[np.uint8]:
    return class_map(*task)


def scaled(values: NDArray[np.uint8], factors: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float32]:
    """Return probabilities (C, ...) times a factor per class."""
    return values * np.asarray(factors, np.float32).reshape(-1, *[1] * (values.ndim - 1))


def without_small(classes: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Return a class map (H, W) whose connected pieces of fewer pixels are background."""
    if pixels < 2:
        return classes
    result = classes.copy()
    for index in np.flatnonzero(np.bincount(classes.reshape(-1), minlength=len(CLASSES))[1:]) + 1:
        _, labels, boxes, _ = cv2.connectedComponentsWithStats((classes == index).astype(np.uint8), connectivity=8)
        small = boxes[:, cv2.CC_STAT_AREA] < pixels
        small[0] = False  # what is not of the class
        result[small[labels]] = 0
    return result
