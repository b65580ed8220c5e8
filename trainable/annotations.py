"""One COCO annotation: the rules its geometry must keep, and its run-length code."""

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from pycocotools import mask as rle_masks

OUTSIDE_TOLERANCE = 1.0
"""Pixels a polygon may leave the photo by: annotation tools round to the edge, and so do the competition's files."""


@dataclass(frozen=True)
class Annotation:
    """One object: its class index and its outline as COCO polygons or run-length code."""

    image_id: int
    class_index: int
    segmentation: list[list[float]] | dict[str, Any]
    area: float  # pixels
    ignore: bool = False  # its pixels are of no known class

    @classmethod
    def from_json(
        cls, annotation: dict[str, Any], class_of: dict[int, int], height: int, width: int
    ) -> "Annotation":
        """Make one of a json annotation that keeps the rules; a missing `area` is measured, `"ignore": 1` taken."""
        segmentation = annotation["segmentation"]
        area = annotation.get("area")
        if area is None:
            area = rle_masks.area(to_rle(segmentation, height, width))
        class_index, ignore = class_of[annotation["category_id"]], bool(annotation.get("ignore", 0))
        return cls(annotation["image_id"], class_index, segmentation, float(area), ignore)


def to_rle(segmentation: list[list[float]] | dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return the compressed run-length code of polygons, of COCO's uncompressed code, or of itself."""
    if isinstance(segmentation, list):
        return rle_masks.merge(rle_masks.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle_masks.frPyObjects(segmentation, height, width)
    return segmentation


def geometry_problem(annotation: dict[str, Any], height: int, width: int) -> str | None:
    """Say which rule the annotation's outline breaks on a photo of height x width pixels, or None."""
    area = annotation.get("area")
    if area is not None and not (_is_number(area) and area >= 0):
        return f"has area {area!r}; an area is a number of pixels, 0 or more"
    if annotation.get("ignore", 0) not in (0, 1):
        return f"has ignore {annotation['ignore']!r:.40}; it is 1 for pixels to leave out, otherwise 0"
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return f"has the segmentation {segmentation!r:.40}; it must be a list of polygons or a run-length code"
    for polygon in segmentation:
        if problem := _polygon_problem(polygon, height, width):
            return problem
    return None


def _polygon_problem(polygon: Any, height: int, width: int) -> str | None:
    if not isinstance(polygon, list) or not all(isinstance(value, float) or is_id(value) for value in polygon):
        return f"has the polygon {polygon!r:.40}; a polygon is a flat list of numbers x, y, x, y, ..."
    if len(polygon) % 2:
        return f"has a polygon of {len(polygon)} numbers; they come in pairs x, y"
    if len(polygon) < 6:
        return f"has a polygon of {len(polygon) // 2} points; at least 3 are needed"
    if not all(_is_number(value) for value in polygon):
        return "has a polygon with NaN or infinite coordinates; mend or remove it"
    for x, y in zip(polygon[::2], polygon[1::2], strict=True):
        low, high_x, high_y = -OUTSIDE_TOLERANCE, width + OUTSIDE_TOLERANCE, height + OUTSIDE_TOLERANCE
        if not (low <= x <= high_x and low <= y <= high_y):
            return f"has the point ({x:g}, {y:g}) outside the photo of {width}x{height}; clip it to the photo"
    return None


def _rle_problem(segmentation: dict[str, Any], height: int, width: int) -> str | None:
    if segmentation.get("size") != [height, width]:
        size = segmentation.get("size")
        return f"has a run-length code of size {size!r:.40}, the photo is [{height}, {width}] (height, width)"
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        if not all(is_id(count) and count >= 0 for count in counts) or sum(counts) != height * width:
            return f"has a run-length code that does not add up to {height} x {width} pixels"
        return None
    if not isinstance(counts, str):
        return f"has a run-length code with counts of type {type(counts).__name__}; a list or a string is needed"
    pixels = _run_total(counts)
    if pixels is None:
        return "has a damaged run-length code"
    if pixels != height * width:
        return f"has a run-length code of {pixels} pixels, the photo has {height} x {width}"
    return None


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


def is_id(value: Any) -> TypeGuard[int]:
    """Tell whether a json value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # No coordinate or area is as large as what a float cannot hold.
    return (isinstance(value, float) and math.isfinite(value)) or (is_id(value) and abs(value) < 2**53)
