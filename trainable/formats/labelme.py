"""labelme: a json of shapes for each photo, beside it."""

import base64
import binascii
import hashlib
import io
import json
import math
import posixpath
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_masks

from trainable.classes import Classes
from trainable.coco.reader import Part, read_parts
from trainable.data_errors import Note, Problem
from trainable.formats.data_format import TEST, DataFormat, fail, files_below, photos_below, split_of
from trainable.images.file_kinds import AS_JSON, mistaken
from trainable.images.photo_files import SUFFIXES, UNREADABLE, name_fault, photo_path, read_header
from trainable.labelled_photos import Dataset
from trainable.machine.cores import cpu_count

HEAD = 65_536
"""Bytes of a json that tell whether it is labelme's."""

LOOKED_AT = 3
"""Files that are looked at in each folder."""

OPEN = "shapes without an area (points and lines), left out"
BARE = "photos without a json, left out"
NAME = "labelme"
CIRCLE = 64  # corners


def _files(root: Path) -> list[str]:
    return [name for name in files_below(root, "", (".json",)) if _is_labelme(root / name)]


def _is_labelme(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return b'"shapes"' in head and b'"annotations"' not in head


def recognise(root: Path) -> str | None:
    """Return one of the files that is labelme's."""
    looked: Counter[str] = Counter()
    for name in files_below(root, "", (".json",)):
        folder = str(PurePosixPath(name).parent)
        looked[folder] += 1
        if looked[folder] <= LOOKED_AT and _is_labelme(root / name):
            return f"shapes in {name}"
    return None


def _split(name: str) -> str | None:
    return next((split for part in PurePosixPath(name).parts[:-1] if (split := split_of(part))), None)


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read the shapes: polygons, rectangles, circles and masks; the folders train/ and val/ tell the split.

    Raises:
        DataError: a category cannot be a class.
    """
    files = [name for name in _files(root) if _split(name) != TEST]
    if not files:
        raise fail(root, "labelme's files are all in a folder of test photos; training needs some elsewhere")
    with ThreadPoolExecutor(2 * cpu_count()) as pool:
        read_files = list(pool.map(lambda name: _File.read(root, name), files))
    problems = [problem for file in read_files for problem in file.problems]
    notes = [note for file in read_files for note in file.notes]
    labels = sorted({label for file in read_files for label, _ in file.shapes})
    ids = {label: index for index, label in enumerate(_ordered(root, labels), 1)}
    splits = {name: _split(name) for name in files}
    parts = []
    for split in dict.fromkeys(splits.values()):
        own = [file for file in read_files if splits[file.name] == split]
        digest = hashlib.sha256("".join(f"{file.name} {file.hash}\n" for file in own).encode()).hexdigest()
        parts.append(Part(f"{NAME} ({split})" if split else NAME, _content(own, ids), digest, split))
    dataset = read_parts(root, parts, classes, f"labelme, a json for each photo ({len(files)} files)")
    labelled = {file.image.get("file_name") for file in read_files}
    bare = [name for name in photos_below(root, "") if name not in labelled and _split(name) != TEST]
    notes += [Note(BARE, name) for name in bare]
    return replace(dataset, problems=(*problems, *dataset.problems), notes=(*notes, *dataset.notes))


def _ordered(root: Path, labels: list[str]) -> list[str]:
    """Return labels in the order of labels.txt, which labelme is started with, others behind by name."""
    path = root / "labels.txt"
    listed = path.read_text("utf-8-sig", errors="replace").splitlines() if path.is_file() else []
    places = {name.strip(): index for index, name in reversed(list(enumerate(listed)))}
    return sorted(labels, key=lambda label: (places.get(label, len(places)), label))


def _content(files: list["_File"], ids: dict[str, int]) -> dict[str, Any]:
    images, annotations = [], []
    for number, file in enumerate(files, 1):
        if not file.image:
            continue
        images.append({**file.image, "id": number})
        for position, (label, segmentation) in enumerate(file.shapes):
            named = f"{PurePosixPath(file.name).name} shape {position}"
            annotations.append(
                {"id": named, "image_id": number, "category_id": ids[label], "segmentation": segmentation}
            )
    categories = [{"id": own_id, "name": label} for label, own_id in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


class _File:
    """One json."""

    def __init__(self, name: str, digest: str):
        self.name, self.hash = name, digest
        self.image: dict[str, Any] = {}  # as COCO has it; empty where there is no photo to draw on
        self.shapes: list[tuple[str, Any]] = []  # label, and COCO's segmentation
        self.problems: list[Problem] = []
        self.notes: list[Note] = []

    @classmethod
    def read(cls, root: Path, name: str) -> "_File":
        raw = (root / name).read_bytes()
        file = cls(name, hashlib.sha256(raw).hexdigest())
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError) as error:
            fault = mistaken(raw[:512], AS_JSON) or f"is not valid json ({error}); was it cut off? Fetch it again"
            file.problems.append(Problem(_beside(root, name), f"{name}: {fault}"))
            return file
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            file.problems.append(Problem(_beside(root, name), f"{name}: must be an object with a list 'shapes'"))
            return file
        file._read(root, content)
        return file

    def _read(self, root: Path, content: dict[str, Any]) -> None:
        self.image = {"file_name": _photo_of(root, self.name, content.get("imagePath"))}
        width, height = content.get("imageWidth"), content.get("imageHeight")
        self.image |= {"width": width, "height": height}
        size = _size(root, self.image)
        photo = self.image["file_name"]
        opened = []
        for position, shape in enumerate(content["shapes"]):
            named = f"{self.name}: shape {position} of {photo}"
            try:
                label, segmentation = _shape(shape, size)
            except ValueError as error:
                self.problems.append(Problem(photo, f"{named} {error}"))
                continue
            if segmentation is None:
                opened.append(f"{named}, {label}")
            else:
                self.shapes.append((label, segmentation))
        if opened and not self.shapes:  # without them it would be all background
            self.problems.append(Problem(photo, f"{opened[0]}, has no area, and the photo has no other; outline it"))
        else:
            self.notes += [Note(OPEN, text) for text in opened]


def _photo_of(root: Path, name: str, image_path: Any) -> Any:
    """Return the name of a json's photo from the data folder on: as the json has it, or as the json is called."""
    if isinstance(image_path, str) and image_path:
        plain = image_path.replace("\\", "/")
        for own in (plain, PurePosixPath(plain).name):
            whole = posixpath.normpath(posixpath.join(posixpath.dirname(name), own))
            if name_fault(whole) is None and photo_path(root, whole).is_file():
                return whole
    beside = _beside(root, name)
    return beside if (root / beside).is_file() or not image_path else image_path


def _beside(root: Path, name: str) -> str:
    """Return the photo that is called as a json, or the json itself where there is none."""
    stem = name.removesuffix(PurePosixPath(name).suffix)
    return next((stem + suffix for suffix in SUFFIXES if (root / (stem + suffix)).is_file()), name)


def _size(root: Path, image: dict[str, Any]) -> tuple[int, int]:
    """Return the (height, width) of a photo in pixels; (0, 0) where it cannot be read, which is told elsewhere."""
    try:
        header = read_header(photo_path(root, image["file_name"]))
    except (*UNREADABLE, TypeError):
        return 0, 0
    return header.height, header.width


def _shape(shape: Any, size: tuple[int, int]) -> tuple[str, Any]:
    """Return a shape's label and COCO's segmentation, None where it has no area.

    Raises:
        ValueError: it breaks a rule; the text goes on after its name.
    """
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
        raise ValueError(f"must be an object with a text as 'label', found {shape!r:.60}")
    label, kind = shape["label"], shape.get("shape_type") or "polygon"
    if kind in ("point", "points", "line", "linestrip"):
        return label, None
    points = shape.get("points")
    if not isinstance(points, list) or not all(map(_is_point, points)):
        raise ValueError(f"needs points [x, y], found {points!r:.60}")
    if kind == "polygon":
        return label, [[value for point in points for value in point]] if points else None
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"is of the type {kind!r:.40}; polygon, rectangle, circle and mask can be drawn")
    if len(points) < 2:
        raise ValueError(f"is a {kind} of {len(points)} points; 2 are needed")
    (x0, y0), (x1, y1) = points[0], points[1] if kind != "rectangle" else points[len(points) // 2]
    if kind == "mask":
        return label, _mask(shape.get("mask"), x0, y0, size)
    if kind == "rectangle":
        return label, [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return label, [list(_circle(x0, y0, math.hypot(x1 - x0, y1 - y0)))]


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and set(map(type, point)) <= {int, float}


def _circle(x: float, y: float, radius: float) -> Iterator[float]:
    for corner in range(CIRCLE):
        angle = 2 * math.pi * corner / CIRCLE
        yield x + radius * math.cos(angle)
        yield y + radius * math.sin(angle)


def _mask(encoded: Any, x: float, y: float, size: tuple[int, int]) -> Any:
    """Return the run-length code of a part of a photo that labelme keeps as a PNG in base64."""
    if not isinstance(encoded, str) or not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"is a mask, which is a PNG in base64 at a point, found {encoded!r:.40}")
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=("PNG",)) as image:
            if image.width > size[1] or image.height > size[0]:
                raise ValueError(f"it is {image.width}x{image.height}, larger than its photo")
            part = np.asarray(image.convert("L")) > 0
    except (*UNREADABLE, binascii.Error) as error:
        raise ValueError(f"is a mask that cannot be read ({error}); draw it again") from None
    left, top = int(x), int(y)
    if left < 0 or top < 0 or top + part.shape[0] > size[0] or left + part.shape[1] > size[1]:
        raise ValueError(f"is a mask that leaves its photo at ({x:g}, {y:g}); draw it again")
    whole = np.zeros(size, np.uint8, order="F")
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    code = rle_masks.encode(whole)
    return {"size": list(size), "counts": code["counts"].decode()}


def test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos in folders called test."""
    return tuple(name for name in photos_below(root, "") if _split(name) == TEST)


LABELME = DataFormat("labelme", "NAME.json with shapes beside each photo", recognise, read, test_photos)
