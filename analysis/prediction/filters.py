"""What is done with an ensemble's probabilities on their way to a class map, as `ensemble.json` lists it.

{"name": "crf", ...}              see `analysis/prediction/crf.py`
{"name": "class factors", "factors": [...]}   each class's probability times a factor
{"name": "small pieces", "pixels": 32}        connected pieces below a size become background, or what is around them
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from analysis.prediction import crf

Filter = Mapping[str, Any]
"""Its name and parameters."""

Box = tuple[slice, slice]


def class_map(
    each: NDArray[np.uint8], photo: NDArray[np.uint8], filters: Sequence[Filter], background: bool = True
) -> NDArray[np.uint8]:
    """Return the class indices (H, W) of probabilities times 255 (C, H, W) after filters.

    Args:
        each: of a photo that lies at the top left of their frame.
        photo: (h, w, 3) as large as it is there; filters see nothing beyond, where its edge goes on.
        filters: in order.
        background: whether class 0 is what nothing covers, see `Classes.background`.

    Raises:
        ValueError: an unknown filter.
    """
    if not filters:
        return each.argmax(0).astype(np.uint8)
    pixels, (height, width) = 0, photo.shape[:2]
    values: NDArray[Any] = each[:, :height, :width]
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
    return edge_padded(without_small(values.argmax(0).astype(np.uint8), pixels, background), each.shape[1:])


def edge_padded(values: NDArray[np.uint8], frame: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return values (..., h, w) at the top left of a frame of H x W, where their edge goes on."""
    beyond = [(0, side - own) for side, own in zip(frame, values.shape[-2:], strict=True)]
    if not any(after for _, after in beyond):
        return values
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + beyond, mode="edge")


def class_maps(
    maps: Sequence[NDArray[np.uint8]],
    photos: Sequence[NDArray[np.uint8]],
    filters: Sequence[Filter],
    executor: Executor | None = None,
    background: bool = True,
) -> list[NDArray[np.uint8]]:
    """Return the class maps of several photos, in the executor's processes if one is given; see `class_map`."""
    paired = photos if filters else maps  # without filters no photo is looked at
    tasks = [(probabilities, photo, filters, background) for probabilities, photo in zip(maps, paired, strict=True)]
    return list(executor.map(_one, tasks)) if executor else [_one(task) for task in tasks]


def _one(task: tuple[NDArray[np.uint8], NDArray[np.uint8], Sequence[Filter], bool]) -> NDArray[np.uint8]:
    return class_map(*task)


def scaled(values: NDArray[np.uint8], factors: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float32]:
    """Return probabilities (C, ...) times a factor per class."""
    return values * np.asarray(factors, np.float32).reshape(-1, *[1] * (values.ndim - 1))


def without_small(classes: NDArray[np.uint8], pixels: int, background: bool = True) -> NDArray[np.uint8]:
    """Return a class map (H, W) without connected pieces of fewer pixels.

    They become background or, where no class is, the class that most of the pixels around them have.
    """
    if pixels < 2:
        return classes
    result = classes.copy()
    pieces: list[tuple[int, Box, NDArray[np.bool_]]] = []
    for index in np.flatnonzero(np.bincount(classes.reshape(-1))).tolist()[int(background and 0 in classes) :]:
        _, labels, boxes, _ = cv2.connectedComponentsWithStats((classes == index).astype(np.uint8), connectivity=8)
        small = boxes[:, cv2.CC_STAT_AREA] < pixels
        small[0] = False  # what is not of the class
        if background:
            result[small[labels]] = 0
            continue
        for label in np.flatnonzero(small):
            left, top, width, height, area = boxes[label].tolist()
            box = slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1)
            pieces.append((area, box, labels[box] == label))
    for _, box, piece in sorted(pieces, key=lambda entry: entry[0]):  # the smallest join those beside them first
        around = (cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~piece
        if around.any():
            result[box][piece] = np.bincount(result[box][around]).argmax()
    return result
