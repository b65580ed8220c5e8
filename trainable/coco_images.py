"""The image entries of a COCO json, each held to its rules and compared with its photo's header."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainable.ids import Id, as_id, is_whole
from trainable.photos import MAX_SIDE, UNREADABLE, Header, name_fault, photo_path, read_header
from trainable.problems import Note, Problem

SIZES = "sizes that the json does not give, taken from the photos"
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


def read_images(path: Path, images: list[Any], problems: list[Problem], notes: list[Note]) -> Images:
    """Read the image entries of a json, adding to `problems` and `notes`."""
    found = Images()
    for position, image in enumerate(images):
        image_id = as_id(image.get("id")) if isinstance(image, dict) else None
        fault = _entry_fault(image, image_id)
        if fault:
            problems.append(Problem(f"image entry {position}", f"{path.name}: image entry {position} {fault}"))
        if image_id is None or fault:
            if image_id is not None:
                found.unusable.add(image_id)
            continue
        if image_id in found.by_id:
            other, file_name = found.by_id[image_id].file_name, image["file_name"]
            text = f"{path.name}: image id {image_id} is used by {other} and {file_name}; ids must differ"
            # Which of the two an annotation means cannot be known, so both are bad.
            problems += [Problem(other, text), Problem(file_name, text)]
            continue
        if listed := _look(path, image, problems, notes):
            found.by_id[image_id] = listed
        else:
            found.unusable.add(image_id)
    return found


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


def _look(path: Path, image: dict[str, Any], problems: list[Problem], notes: list[Note]) -> Listed | None:
    """Compare an entry with its photo; None where there is no size to draw on."""
    file_name, height, width = image["file_name"], _side(image, "height"), _side(image, "width")
    photo = photo_path(path.parent, file_name)
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
            fault = _size_fault(file_name, header, int(width), int(height))
            height = None  # its outlines are of another
        if header.pages:
            notes.append(Note(PAGES, file_name))
    if fault:
        problems.append(Problem(file_name, f"{path.name}: {fault}"))
    if height is None or width is None:
        return None
    return Listed(file_name, photo, int(height), int(width), sound=fault is None)


def _size_fault(file_name: str, header: Header, width: int, height: int) -> str:
    found = f"photo {file_name} is {header.width}x{header.height}, the json says {width}x{height}"
    if header.turned and (width, height) == (header.height, header.width):
        return f"{found}: it was annotated as it is stored, on its side. Remove its EXIF orientation"
    return f"{found}; put the photo there that was annotated, as other numbers would misplace its outlines"
