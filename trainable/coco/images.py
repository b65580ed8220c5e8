"""The image entries of a COCO json, each held to its rules and compared with its photo's header."""

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from trainable.coco.ids import Id, as_id, is_whole
from trainable.data_errors import Note, Problem
from trainable.images.photo_files import MAX_SIDE, UNREADABLE, Header, name_fault, photo_path, read_header

SIZES = "sizes that the json does not give, taken from the photos"
REPEATED = "entries of photos that are given twice, read once"
PAGES = "photos of several pages or frames, of which the first is used"


@dataclass(frozen=True)
class Listed:
    """A photo that a json lists."""

    file_name: str
    path: Path
    height: int  # pixels
    width: int
    sound: bool  # it can be read, and is of that size


@dataclass
class Images:
    """What the image entries of a json tell."""

    by_id: dict[Id, Listed] = field(default_factory=dict)
    unusable: set[Id] = field(default_factory=set)  # ids of entries whose problem leaves nothing to draw on


def read_images(file: str, root: Path, images: list[Any], problems: list[Problem], notes: list[Note]) -> Images:
    """Read the image entries of a json, adding to `problems` and `notes`.

    Args:
        file: the json's name, for what is told.
        root: folder that the photos' names begin at.
        images: the entries.
        problems: what is wrong is added to them.
        notes: what is mended is added to them.
    """
    result = Images()
    entries: dict[Id, dict[str, Any]] = {}  # the first of each id
    for position, image in enumerate(images):
        image_id = as_id(image.get("id")) if isinstance(image, dict) else None
        fault = _entry_fault(image, image_id)
        if fault:
            problems.append(Problem(f"image entry {position}", f"{file}: image entry {position} {fault}"))
        if image_id is None or fault:
            if image_id is not None:
                result.unusable.add(image_id)
            continue
        first = entries.setdefault(image_id, image)
        if first is not image:
            if ambiguous := _ambiguous(first, image, image_id):
                # Which of the two an annotation means cannot be known, so both are bad.
                both = sorted({first["file_name"], image["file_name"]})
                problems += [Problem(file_name, f"{file}: {ambiguous}") for file_name in both]
            else:
                notes.append(Note(REPEATED, first["file_name"]))
            continue
        if listed := _look(file, root, image, problems, notes):
            result.by_id[image_id] = listed
        else:
            result.unusable.add(image_id)
    return result


def plain_name(file_name: str) -> str:
    """Return the one spelling of a photo's name: macOS decomposes letters, and some tools write ./ before it."""
    return unicodedata.normalize("NFC", PurePosixPath(file_name).as_posix())


def _ambiguous(first: dict[str, Any], second: dict[str, Any], image_id: Id) -> str | None:
    """Say what is wrong with two entries of one id; None if they say the same."""
    if plain_name(first["file_name"]) != plain_name(second["file_name"]):
        return f"image id {image_id} is used by {first['file_name']} and {second['file_name']}; ids must differ"
    if any(_side(first, key) != _side(second, key) for key in ("height", "width")):
        return f"photo {first['file_name']} is listed twice, with other sizes; keep the entry of the size that it has"
    return None


def _entry_fault(image: Any, image_id: Id | None) -> str | None:
    if not isinstance(image, dict):
        return f"must be an object, found {image!r:.40}"
    file_name = image.get("file_name")
    if fault := name_fault(file_name):
        return fault
    if image_id is None:
        return f"({file_name}) needs a whole number as 'id', found {image.get('id')!r:.40}"
    for key in ("height", "width"):
        side = _side(image, key)
        if side is not None and not (is_whole(side) and side <= MAX_SIDE):
            return f"({file_name}) needs a whole number of 1 to {MAX_SIDE} as {key!r}, found {image[key]!r:.40}"
    return None


def _side(image: dict[str, Any], key: str) -> Id | None:
    """Return a size in pixels; None where the json does not give it: by no value, or, as some tools do, by 0 or -1."""
    value = image.get(key)
    side = as_id(value)
    if value is None or (is_whole(side) and side < 1):
        return None
    return side if side is not None else "unknown"


def _look(file: str, root: Path, image: dict[str, Any], problems: list[Problem], notes: list[Note]) -> Listed | None:
    """Compare an entry with its photo; None where there is no size to draw on."""
    file_name, height, width = image["file_name"], _side(image, "height"), _side(image, "width")
    photo = photo_path(root, file_name)
    header, fault = None, None
    try:
        header = read_header(photo)
    except FileNotFoundError:
        fault = f"photo {file_name} does not exist; add it or remove its entry and its annotations"
    except UNREADABLE as error:
        fault = f"photo {file_name} cannot be read ({error}); replace it"
    if header:
        if height is None or width is None:
            notes.append(Note(SIZES, f"{file_name}, {header.width}x{header.height}"))
            height, width = height or header.height, width or header.width
        if (width, height) != (header.width, header.height):
            fault = _size_fault(file_name, header, _side(image, "width"), _side(image, "height"))
            height = None  # its outlines are of another
        if header.pages:
            notes.append(Note(PAGES, file_name))
    if fault:
        problems.append(Problem(file_name, f"{file}: {fault}"))
    if height is None or width is None:
        return None
    return Listed(file_name, photo, int(height), int(width), sound=fault is None)


def _size_fault(file_name: str, header: Header, width: Id | None, height: Id | None) -> str:
    says = f"width {width}" if height is None else f"height {height}" if width is None else f"{width}x{height}"
    mismatch = f"photo {file_name} is {header.width}x{header.height}, the json says {says}"
    if header.turned and width in (None, header.height) and height in (None, header.width):
        return f"{mismatch}: it was annotated as it is stored, on its side. Remove its EXIF orientation"
    return f"{mismatch}; put the photo there that was annotated, as other numbers would misplace its outlines"
