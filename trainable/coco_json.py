"""Opens COCO files of anyone's making, and says what a file is that is none."""

import json
from pathlib import Path
from typing import Any

from trainable.file_kinds import mistaken
from trainable.problems import DataError, Problem


def load(path: Path, raw: bytes, lists: tuple[str, ...] = ("images", "annotations", "categories")) -> dict[str, Any]:
    """Parse a COCO file.

    Args:
        path: where it is.
        raw: its content.
        lists: what it must have.

    Raises:
        DataError: it is no json, or lacks one of the lists.
    """

    def fail(text: str) -> DataError:
        return DataError(path.parent, (Problem(None, f"{path.name}: {text}"),))

    try:
        content = json.loads(raw)
    except UnicodeDecodeError as error:
        raise fail(mistaken(raw[:512]) or f"is not text in UTF-8 ({error}); save it as UTF-8") from None
    except (ValueError, RecursionError) as error:  # nested too deep
        if str(error).startswith("Extra data"):
            told = f"holds more than one json value ({error}); a COCO file is one object"
        else:
            told = mistaken(raw[:512]) or f"is not valid json ({error}); was it cut off? Fetch it again"
        raise fail(told) from None
    if not isinstance(content, dict):
        raise fail(f"a COCO file is a json object, found a {type(content).__name__}")
    for key in lists:
        if not isinstance(content.get(key), list):
            raise fail(f"a COCO file has a list {key!r}, found {type(content.get(key)).__name__}")
    return content


def listed_names(path: Path) -> list[str]:
    """Return the file names that a COCO file such as test.json lists, in its order.

    Raises:
        DataError: it is no COCO file, or an image in it has no text as file_name.
        OSError: it cannot be read.
    """
    images = load(path, path.read_bytes(), ("images",))["images"]
    names = [image.get("file_name") if isinstance(image, dict) else None for image in images]
    faults = [
        Problem(None, f"{path.name} is no COCO json: image entry {position} needs a text as file_name, "
                f"found {name!r:.80}; mend it")
        for position, name in enumerate(names) if not isinstance(name, str)
    ]  # fmt: skip
    if faults:
        raise DataError(path.parent, tuple(faults))
    return [name for name in names if isinstance(name, str)]


def not_a_folder(root: Path, option: str = "--data") -> str | None:
    """Say what to name instead of a path that is a file or does not exist; None where it is a folder."""
    if root.is_dir():
        return None
    if root.is_file():
        return f"{root} is a file; name the folder that holds it: {option} {root.parent}"
    return f"the folder {root} does not exist; pass {option} an existing one"
