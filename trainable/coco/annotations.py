"""One COCO annotation: the rules its geometry must keep, what is mended of it, and its run-length code."""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from pycocotools import mask as rle_masks

from trainable.coco.ids import as_id, is_whole
from trainable.labelled_photos import Rle

OUTSIDE_TOLERANCE = 1.0
"""Pixels a polygon may leave the photo by: annotation tools round to the edge, and so do the competition's files."""

OVERHANG = 0.1
"""Share of the photo's side that a polygon may hang over the edge by and is clipped; one that leaves by more is
probably of another photo, or of another size of it."""

LEAST_OVERHANG = 8.0
"""Pixels of it that are clipped on a photo of any size."""

FLAT = "outlines given as one flat list of numbers, read as one polygon"
PAIRS = "outlines given as pairs x, y, read as polygons"
STRAY = "parts of outlines with fewer than 3 points, left out"
CLIPPED = "outlines that hang over the edge, clipped to the photo"
EMPTY = "annotations that cover no pixel beside others of their photo, left out"

Segmentation = list[list[float]] | dict[str, Any]
"""COCO's polygons, x, y, x, y, ... each, or its run-length code."""


class OutlineError(ValueError):
    """An outline breaks a rule. The text goes on after the annotation's name."""


@dataclass(frozen=True)
class Outline:
    """An outline as it is drawn, and what was mended of it."""

    rle: Rle | None  # None where nothing is left of it
    mended: tuple[str, ...] = ()  # of FLAT, PAIRS, STRAY and CLIPPED
    left_out: str = ""  # where nothing is left, why: goes on after the annotation's name


def to_rle(segmentation: Segmentation, height: int, width: int) -> Rle:
    """Return the compressed run-length code of polygons, of COCO's uncompressed code, or of itself."""
    if isinstance(segmentation, list):
        return rle_masks.merge(rle_masks.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle_masks.frPyObjects(segmentation, height, width)
    return segmentation


def read_outline(segmentation: Any, height: int, width: int) -> Outline:
    """Check the `segmentation` of an annotation on a photo of height x width pixels, and mend what has one meaning.

    Raises:
        OutlineError: it breaks a rule, so that it cannot be known which pixels are the object's.
    """
    if isinstance(segmentation, dict):
        rle = _read_rle(segmentation, height, width)
        return Outline(rle) if rle_masks.area(rle) else Outline(None, (), "has a run-length code that covers no pixel")
    if not isinstance(segmentation, list) or not segmentation:
        left_out = f"has the segmentation {segmentation!r:.40}; it must be a list of polygons or a run-length code"
        if segmentation is not None and segmentation != []:
            raise OutlineError(left_out)
        return Outline(None, (), left_out)
    mended = []
    if _all_numbers(segmentation):
        segmentation = [segmentation]
        mended.append(FLAT)
    if _are_pairs(segmentation):
        segmentation = [segmentation]
    if any(map(_are_pairs, segmentation)):
        segmentation = [list(chain(*polygon)) if _are_pairs(polygon) else polygon for polygon in segmentation]
        mended.append(PAIRS)
    counts = [_points(polygon) for polygon in segmentation]
    parts = [polygon for polygon, count in zip(segmentation, counts, strict=True) if count >= 3]
    if not parts:
        return Outline(None, (), f"has a polygon of {max(counts)} points; at least 3 are needed")
    if len(parts) < len(counts):
        mended.append(STRAY)
    beyond = max([_overhang(polygon, height, width) for polygon in parts])
    if max(height, width) > 1 and all(0 <= value <= 1 for polygon in parts for value in polygon):
        raise OutlineError(
            "has coordinates from 0 to 1, which look like shares of the photo; multiply them by its width and height"
        )
    if beyond > OUTSIDE_TOLERANCE:
        rle = clip(parts, height, width, math.ceil(beyond))
        mended.append(CLIPPED)
    else:
        rle = to_rle(parts, height, width)
    # Only drawing tells: of a thin outline, or of one that goes round twice, no pixel may be inside.
    return Outline(rle, tuple(mended)) if rle_masks.area(rle) else Outline(None, (), "covers no pixel of the photo")


def _all_numbers(values: list[Any]) -> bool:
    return set(map(type, values)) <= {int, float}  # True is no number


def _are_pairs(values: Any) -> bool:
    """Tell whether it is a polygon of points [x, y]: fewer than three could be stray parts of an outline."""
    return (
        isinstance(values, list)
        and len(values) >= 3
        and all(isinstance(point, list) and len(point) == 2 and _all_numbers(point) for point in values)
    )


def _points(polygon: Any) -> int:
    """Return how many different points a polygon has.

    Raises:
        OutlineError: it is none.
    """
    if not isinstance(polygon, list) or not _all_numbers(polygon):
        raise OutlineError(f"has the polygon {polygon!r:.40}; a polygon is a flat list of numbers x, y, x, y, ...")
    if len(polygon) >= 6 and len(polygon) % 2:  # with fewer it is no outline, whatever the numbers are
        raise OutlineError(f"has a polygon of {len(polygon)} numbers; they come in pairs x, y")
    return len(set(zip(polygon[::2], polygon[1::2], strict=False)))


def clip(polygons: list[list[float]], height: int, width: int, beyond: int) -> Rle:
    """Return the compressed run-length code of what polygons cover of a photo.

    They are drawn on a canvas larger by `beyond` pixels on each side: pycocotools rounds coordinates below 0 otherwise.
    """
    shifted = [[value + beyond for value in polygon] for polygon in polygons]
    drawn = rle_masks.decode(to_rle(shifted, height + 2 * beyond, width + 2 * beyond))
    return rle_masks.encode(np.asfortranarray(drawn[beyond : beyond + height, beyond : beyond + width]))


def _overhang(polygon: list[float], height: int, width: int) -> float:
    """Return by how many pixels a polygon leaves a photo of height x width pixels, 0 or less where it does not.

    Raises:
        OutlineError: it leaves it by too much, or by a number that is none.
    """
    try:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)  # x, y
    except OverflowError:  # a whole number that no float can hold
        points = np.full((1, 2), np.inf)
    sides = np.array([width, height])
    beyond = np.maximum(-points, points - sides)
    if (most := beyond.max()) <= OUTSIDE_TOLERANCE:  # of most outlines; false of NaN
        return float(most)
    if not np.isfinite(points).all():
        raise OutlineError("has a polygon with NaN or infinite coordinates; mend it")
    too_far = (beyond > np.maximum(LEAST_OVERHANG, OVERHANG * sides)).any(axis=1)
    if too_far.any():
        x, y = points[too_far][0]
        raise OutlineError(
            f"has the point ({x:g}, {y:g}) outside the photo of {width}x{height}; see whether its outline is of "
            "another photo, or of another size of this one"
        )
    return float(most)


def _read_rle(segmentation: dict[str, Any], height: int, width: int) -> Rle:
    """Return the compressed form of a run-length code.

    Raises:
        OutlineError: it is none of a photo of that size.
    """
    if segmentation.get("size") != [height, width]:
        size = segmentation.get("size")
        raise OutlineError(f"has a run-length code of size {size!r:.40}, the photo is [{height}, {width}] (h, w)")
    counts = segmentation.get("counts")
    pixels: int | None
    if isinstance(counts, list):
        raw, counts = counts, [as_id(count) for count in counts]
        for count, read in zip(raw, counts, strict=True):
            if not is_whole(read) or read < 0:
                problem = f"its counts must be whole numbers from 0 on, found {count!r:.40}"
                raise OutlineError(f"has a run-length code; {problem}")
        pixels = sum(counts)
    elif isinstance(counts, str):
        pixels = _run_total(counts)
    else:
        problem = f"counts of type {type(counts).__name__}; a list or a string is needed"
        raise OutlineError(f"has a run-length code with {problem}")
    if pixels is None:
        raise OutlineError("has a damaged run-length code")
    if pixels != height * width:
        raise OutlineError(f"has a run-length code that does not add up to {height} x {width} pixels but to {pixels}")
    return to_rle({"size": [height, width], "counts": counts}, height, width)


def _run_total(counts: str) -> int | None:
    """Add up the runs of a compressed code, None if it is no such code; pycocotools itself does not check.

    Source of the format: the COCO API's `rleFrString`, 5 bits a character, low bits first, from the third run on
    as the difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift or any(run < 0 for run in runs) else sum(runs)
