"""The entries of a COCO json, each held to its rules: what breaks one is collected, not raised."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trainable.annotations import Annotation, geometry_problem, is_id
from trainable.classes import CLASSES
from trainable.photos import MAX_SIDE, name_fault
from trainable.problems import DataError, Problem


def load(path: Path, raw: bytes) -> dict[str, Any]:
    """Parse a COCO json.

    Raises:
        DataError: it is no json, or lacks one of the three lists.
    """

    def fail(text: str) -> DataError:
        return DataError(path.parent, (Problem(None, f"{path.name}: {text}"),))

    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:  # nested too deep
        raise fail(f"is not valid json ({error}); was it cut off? Fetch it again") from None
    if not isinstance(content, dict):
        raise fail(f"a COCO file is a json object, found a {type(content).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise fail(f"a COCO file has a list {key!r}, found {type(content.get(key)).__name__}")
    return content


def class_of_category(path: Path, categories: list[Any], problems: list[Problem]) -> dict[int, int]:
    """Return the class index by category id, adding to `problems`."""
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


def images_by_id(path: Path, images: list[Any], problems: list[Problem]) -> dict[int, dict[str, Any]]:
    """Return the sound image entries by their id, adding to `problems`."""
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
    if fault := name_fault(file_name):
        return fault
    for key in ("id", "height", "width"):
        value = image.get(key)
        if not is_id(value) or (key != "id" and not 1 <= value <= MAX_SIDE):
            limits = "" if key == "id" else f" of 1 to {MAX_SIDE}"
            return f"({file_name}) needs a whole number{limits} as {key!r}, found {value!r:.40}"
    return None


def annotations_of(
    path: Path, annotations: list[Any], entries: dict[int, dict[str, Any]], class_of: dict[int, int],
    problems: list[Problem],
) -> Iterator[Annotation]:  # fmt: skip
    """Yield the sound annotations of `entries`, adding to `problems`."""
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
