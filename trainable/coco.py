"""Reads and checks photos with COCO annotations in the competition's layout, and draws their masks.

A data folder holds `train_all.json`, or `train.json` and `val.json`, beside the photos their `file_name`s point to
(`batch_01_vt/0002.jpg`, ...). Reading never stops at the first fault: every problem is collected, so that a user can
mend them all at once (`check`) or go on without the bad photos (`skip_bad`).
"""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_masks

from trainable.annotations import Annotation, geometry_problem, is_id, to_rle
from trainable.problems import DataError, Problem

CLASSES = (
    "Background", "General trash", "Paper", "Paper pack", "Metal", "Glass",
    "Plastic", "Styrofoam", "Plastic bag", "Battery", "Clothing",
)  # fmt: skip
"""Class names by class index, in the competition's order. Background is what no annotation covers."""

IGNORE_INDEX = 255
"""Mask value of pixels that neither the loss nor a metric looks at: those of annotations with `"ignore": 1`."""

MAX_SIDE = 32_768
"""Pixels; a larger photo is a mistake in the json, and its mask would not fit into memory."""

EXIF_ORIENTATION = 274

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What PIL raises on broken photos."""


@dataclass(frozen=True)
class Photo:
    """One photo and its annotations. `file_name` is its name everywhere: ids differ between the json files."""

    file_name: str
    path: Path
    height: int  # pixels
    width: int  # pixels
    annotations: tuple[Annotation, ...]
    confidence: Path | None = None  # grey picture of how sure each pixel's label is, 255 is certain


@dataclass(frozen=True)
class Dataset:
    """The annotated photos of a data folder, and all that was found wrong with them."""

    root: Path
    photos: tuple[Photo, ...]
    problems: tuple[Problem, ...]
    json_hash: str  # sha256 over the json files read


def read_training(root: Path, names: Sequence[str] = ()) -> Dataset:
    """Read the annotated photos of a data folder: `train_all.json`, else `train.json` and `val.json` together.

    Args:
        root: the folder.
        names: the json files to read in place of those.

    Raises:
        DataError: the folder or its json files are missing or unreadable as a whole. Faults of single photos and
            annotations are returned in `problems`, for `check` to raise or drop.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise DataError(root, (Problem(None, f"the folder {root} does not exist; pass --data an existing one"),))
    names = names or (["train_all.json"] if (root / "train_all.json").exists() else ["train.json", "val.json"])
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        text = f"{' and '.join(missing)} not found; a data folder holds train_all.json, or train.json and val.json"
        raise DataError(root, (Problem(None, text),))
    parts = [read_json(root / name) for name in names]
    photos = tuple(photo for part in parts for photo in part.photos)
    problems = [problem for part in parts for problem in part.problems]
    for file_name in _repeated(photo.file_name for photo in photos):
        problems.append(Problem(file_name, f"{' and '.join(names)}: photo {file_name} is listed twice; keep one"))
    if not any(photo.annotations for photo in photos):
        problems.append(Problem(None, f"{' and '.join(names)}: no photo has a valid annotation; the split is empty"))
    digest = hashlib.sha256("".join(part.json_hash for part in parts).encode()).hexdigest()
    return Dataset(root, photos, tuple(problems), digest)


def read_json(path: Path) -> Dataset:
    """Read one COCO file, such as `test.json`; every photo is looked up and its header read.

    Raises:
        DataError: the file is no COCO json as a whole.
    """
    raw = path.read_bytes()
    content = _load(path, raw)
    problems: list[Problem] = []
    class_of = _class_of_category(path, content["categories"], problems)
    entries = _images(path, content["images"], problems)
    annotations: dict[int, list[Annotation]] = {image_id: [] for image_id in entries}
    for annotation in _annotations(path, content["annotations"], entries, class_of, problems):
        annotations[annotation.image_id].append(annotation)
    photos = []
    for image_id, image in entries.items():
        file_name = image["file_name"]
        found_here = tuple(annotations[image_id])
        photo = Photo(file_name, path.parent / file_name, image["height"], image["width"], found_here)
        photos.append(photo)
        if found := _header_problem(photo):
            problems.append(Problem(photo.file_name, f"{path.name}: {found}"))
    if not photos:
        problems.append(Problem(None, f"{path.name}: lists no photos; the split is empty"))
    return Dataset(path.parent, tuple(photos), tuple(problems), hashlib.sha256(raw).hexdigest())


def check(dataset: Dataset, skip_bad: bool = False) -> Dataset:
    """Return the data set if nothing is wrong with it, or, with `skip_bad`, without its bad photos.

    Raises:
        DataError: there are problems; with `skip_bad`, only if some are not about single photos, or no photo is left.
    """
    if not dataset.problems:
        return dataset
    bad = {problem.file_name for problem in dataset.problems}
    good = tuple(photo for photo in dataset.photos if photo.file_name not in bad)
    if not skip_bad or None in bad or not good:
        raise DataError(dataset.root, dataset.problems)
    return replace(dataset, photos=good)


def draw_mask(photo: Photo) -> NDArray[np.uint8]:
    """Draw the class index of each pixel, uint8 (height, width), as the competition's own loader does; or IGNORE_INDEX.

    Larger annotations are drawn first and smaller ones over them (painter's order by the json's `area`, ties in file
    order), rasterised by pycocotools: `cv2.fillPoly` gives other edges.
    """
    mask = np.zeros((photo.height, photo.width), np.uint8)
    for annotation in sorted(photo.annotations, key=lambda annotation: annotation.area, reverse=True):
        rle = to_rle(annotation.segmentation, photo.height, photo.width)
        mask[rle_masks.decode(rle) == 1] = IGNORE_INDEX if annotation.ignore else annotation.class_index
    return mask


def _load(path: Path, raw: bytes) -> dict[str, Any]:
    def fail(text: str) -> DataError:
        return DataError(path.parent, (Problem(None, f"{path.name}: {text}"),))

    try:
        content = json.loads(raw)
    except ValueError as error:
        raise fail(f"is not valid json ({error}); was it cut off? Fetch it again") from None
    if not isinstance(content, dict):
        raise fail(f"a COCO file is a json object, found a {type(content).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise fail(f"a COCO file has a list {key!r}, found {type(content.get(key)).__name__}")
    return content


def _class_of_category(path: Path, categories: list[Any], problems: list[Problem]) -> dict[int, int]:
    class_of: dict[int, int] = {}
    for category in categories:
        category_id, name = (category.get("id"), category.get("name")) if isinstance(category, dict) else (None, None)
        if not is_id(category_id):
            problems.append(Problem(None, f"{path.name}: category {name!r:.40} needs a whole number as id"))
            continue
        if category_id in class_of:
            problems.append(Problem(None, f"{path.name}: category id {category_id} is used twice; ids must differ"))
        # Annotations of an unknown category are not faulty themselves: they would repeat this problem.
        class_of[category_id] = CLASSES.index(name) if name in CLASSES else 0
        if name in CLASSES:
            continue
        nearest = get_close_matches(str(name), CLASSES, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; the classes are {', '.join(CLASSES[1:])}"
        problems.append(Problem(None, f"{path.name}: unknown category {name!r}{hint}"))
    return class_of


def _images(path: Path, images: list[Any], problems: list[Problem]) -> dict[int, dict[str, Any]]:
    entries: dict[int, dict[str, Any]] = {}
    for position, image in enumerate(images):
        if fault := _image_fault(image):
            problems.append(Problem(f"image entry {position}", f"{path.name}: image entry {position} {fault}"))
            continue
        file_name = image["file_name"]
        if image["id"] in entries:
            other = entries[image["id"]]["file_name"]
            text = f"{path.name}: image id {image['id']} is used by {other} and {file_name}; ids must differ"
            # Which of the two an annotation means cannot be known, so both are bad.
            problems += [Problem(other, text), Problem(file_name, text)]
        else:
            entries[image["id"]] = image
    return entries


def _image_fault(image: Any) -> str | None:
    if not isinstance(image, dict):
        return f"must be an object, found {image!r:.40}"
    file_name = image.get("file_name")
    if not isinstance(file_name, str) or not file_name.isprintable() or not file_name:
        return f"needs a file_name, found {file_name!r:.80}"
    for key in ("id", "height", "width"):
        value = image.get(key)
        if not is_id(value) or (key != "id" and not 1 <= value <= MAX_SIDE):
            limits = "" if key == "id" else f" of 1 to {MAX_SIDE}"
            return f"({file_name}) needs a whole number{limits} as {key!r}, found {value!r:.40}"
    return None


def _annotations(
    path: Path, annotations: list[Any], entries: dict[int, dict[str, Any]], class_of: dict[int, int],
    problems: list[Problem],
) -> Iterator[Annotation]:  # fmt: skip
    seen: set[Any] = set()
    for position, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            problems.append(Problem(None, f"{path.name}: annotation {position} must be an object"))
            continue
        own_id, image_id, category_id = (annotation.get(key) for key in ("id", "image_id", "category_id"))
        name = f"annotation {own_id!r:.40}" if own_id is not None else f"annotation at position {position}"
        image = entries.get(image_id) if is_id(image_id) else None
        if image is None:
            text = f"{path.name}: {name} is of image {image_id!r:.40}, which is not listed; remove it"
            problems.append(Problem(f"image {image_id!r:.40}", text))
            continue
        fault = None
        if own_id is not None and not is_id(own_id):
            fault = "needs a whole number as id"
        elif own_id is not None and own_id in seen:
            fault = "repeats an id; ids must differ"
        elif not is_id(category_id) or category_id not in class_of:
            known = ", ".join(map(str, class_of))
            fault = f"has category id {category_id!r:.40}, which is not listed; the ids are {known}"
        seen.add(own_id if is_id(own_id) else None)
        fault = fault or geometry_problem(annotation, image["height"], image["width"])
        if fault:
            problems.append(Problem(image["file_name"], f"{path.name}: {name} of {image['file_name']} {fault}"))
        else:
            yield Annotation.from_json(annotation, class_of, image["height"], image["width"])


def _header_problem(photo: Photo) -> str | None:
    """Look at the photo's header only: the pixels are decoded, and checked, once, by the cache."""
    try:
        with Image.open(photo.path) as image:
            width, height = image.size
            if image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8):  # stored lying on its side
                width, height = height, width
    except FileNotFoundError:
        return f"photo {photo.file_name} does not exist; add it or remove its entry"
    except UNREADABLE as error:
        return f"photo {photo.file_name} cannot be read ({error}); replace it"
    if (width, height) != (photo.width, photo.height):
        return f"photo {photo.file_name} is {width}x{height}, the json says {photo.width}x{photo.height}; mend one"
    return None


def _repeated(values: Any) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]
