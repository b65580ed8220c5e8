"""Opens COCO files of anyone's making, and says what a file is that is none."""

import json
from pathlib import Path
from typing import Any

from trainable.data_errors import DataError, Problem
from trainable.images.file_kinds import AS_JSON, mistaken

_CUT_OFF = "is not valid json ({}); was it cut off? Fetch it again"


def load(path: Path, raw: bytes) -> dict[str, Any]:
    """Parse a COCO file, as training needs it.

    Raises:
        DataError: it is no json, or lacks one of the three lists.
    """
    try:
        return _parse(raw, ("images", "annotations", "categories"))
    except ValueError as error:
        raise DataError(path.parent, (Problem(None, f"{path.name}: {error}"),)) from None


def listed_names(path: Path) -> list[str]:
    """Return the file names that a COCO file such as test.json lists, in its order.

    Raises:
        DataError: it is no COCO file, or an image in it has no text as file_name.
        OSError: it cannot be read.
    """
    names = []
    try:
        for position, image in enumerate(_parse(path.read_bytes(), ("images",))["images"]):
            name = image.get("file_name") if isinstance(image, dict) else None
            if not isinstance(name, str):
                value = f"{name!r:.80}; mend it" if isinstance(image, dict) else f"{image!r:.80}; an entry is an object"
                raise ValueError(f"image entry {position} needs a text as file_name, found {value}")
            names.append(name)
    except ValueError as error:
        raise DataError(path.parent, (Problem(None, f"{path.name} is no COCO json: {error}"),)) from None
    return names


def _parse(raw: bytes, lists: tuple[str, ...]) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except UnicodeDecodeError as error:
        cut_off = error.reason in ("unexpected end of data", "truncated data")  # of UTF-8, of UTF-16
        problem = _CUT_OFF.format(error) if cut_off else f"is not text in UTF-8 ({error}); save it as UTF-8"
        raise ValueError(mistaken(raw[:512], AS_JSON) or problem) from None
    except (ValueError, RecursionError) as error:  # nested too deep
        if str(error).startswith("Extra data"):
            problem = f"holds more than one json value ({error}); a COCO file is one object"
        else:
            problem = mistaken(raw[:512], AS_JSON) or _CUT_OFF.format(error)
        raise ValueError(problem) from None
    if not isinstance(content, dict):
        raise ValueError(f"a COCO file is a json object, found a {type(content).__name__}")
    for key in lists:
        if not isinstance(content.get(key), list):
            raise ValueError(f"a COCO file has a list {key!r}, found {type(content.get(key)).__name__}")
    return content


def not_a_folder(root: Path, option: str = "--data") -> str | None:
    """Say what to name instead of a path that is a file or does not exist; None where it is a folder."""
    if root.is_dir():
        return None
    if root.is_file():
        return f"{root} is a file; name the folder that holds it: {option} {root.parent}"
    return f"the folder {root} does not exist; pass {option} an existing one"
