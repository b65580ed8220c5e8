"""What every reader of a data format offers, and what it looks at a folder with."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trainable.classes import Classes
from trainable.coco.json_file import listed_names
from trainable.coco.reader import Part, read_part
from trainable.data_errors import DataError, Problem
from trainable.images.photo_files import SUFFIXES, name_fault, photo_path
from trainable.labelled_photos import Dataset

TEST = "test"

DEEPEST = 8
"""Folders below each other that are looked into; a link may lead round in a circle."""

_SPLIT = re.compile(r"(?:instances_|image_info_)?(train|val|test|dev)(?:ing|id|idation)?[-_]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class DataFormat:
    """A format of photos with labels."""

    name: str
    looks_for: str  # what makes a folder one of these, in words
    recognise: Callable[[Path], str | None]  # what of that a folder has, in words; None where it is none of these
    read: Callable[[Path, Classes | None], Dataset]  # raises DataError where it cannot be read as a whole
    test_photos: Callable[[Path], tuple[str, ...]]  # names of photos to predict, from the folder on


def split_of(name: str) -> str | None:
    """Return what photos are for by the name of their folder or list: `train`, `val`, `test`; None if it is no such."""
    matched = _SPLIT.fullmatch(name)
    split = matched[1].lower() if matched else None
    return "val" if split == "dev" else split


def subfolders(root: Path, names: Collection[str]) -> list[str]:
    """Return the folders in a folder that have one of the names, which are in lower case."""
    return [name for name in entries(root) if name.lower() in names and (root / name).is_dir()]


def split_folders(root: Path) -> dict[str, str]:
    """Return the folders in a folder that are named as splits, each with its split."""
    named = {name: split_of(name) for name in entries(root) if (root / name).is_dir()}
    return {name: split for name, split in named.items() if split}


def files_below(root: Path, folder: str, suffixes: Collection[str]) -> list[str]:
    """Return the files of a folder and below that end so, in order; names from `root` on, with forward slashes."""
    found = []
    top = root / folder
    for path, folders, names in os.walk(top, followlinks=True):
        depth = len(Path(path).relative_to(top).parts)
        folders[:] = [] if depth >= DEEPEST else sorted(name for name in folders if not name.startswith("."))
        at = Path(path).relative_to(root).as_posix()
        found += [
            name if at == "." else f"{at}/{name}"
            for name in names
            if name.lower().endswith(tuple(suffixes)) and not name.startswith(".")
        ]
    return sorted(found)


def photos_below(root: Path, folder: str) -> list[str]:
    """Return the photos of a folder and below, see `files_below`."""
    return files_below(root, folder, SUFFIXES)


def has_pictures(root: Path, folder: str) -> bool:
    """Tell whether there is a picture in a folder or below."""
    for _, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(name.lower().endswith(SUFFIXES) and not name.startswith(".") for name in names):
            return True
    return False


def bad_names(file_names: Iterable[str]) -> list[Problem]:
    """Return what is wrong with names of photos."""
    return [Problem(name, f"a photo {fault}") for name in file_names if (fault := name_fault(name))]


def fail(root: Path, *texts: str) -> DataError:
    """Return the error that a folder cannot be read as a whole."""
    return DataError(root, tuple(Problem(None, text) for text in texts))


def located_part(root: Path, name: str, folders: Iterable[str], split: str | None) -> Part:
    """Read a COCO file whose photos are in one of some folders, from the data folder on; "" is the data folder.

    Raises:
        DataError: it is no COCO json as a whole.
    """
    part = read_part(root, name)
    places = Places(root, folders)
    images = [_renamed(image, places) for image in part.content["images"]]
    return Part(name, {**part.content, "images": images}, part.hash, split)


def located_names(root: Path, name: str, folders: Iterable[str]) -> Iterator[str]:
    """Yield the photos that a COCO file lists, see `located_part`."""
    places = Places(root, folders)
    yield from map(places.find, listed_names(root / name))


def _renamed(image: Any, places: "Places") -> Any:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return image
    return {**image, "file_name": places.find(image["file_name"])}


class Places:
    """Where the photos that a file of labels names may be."""

    def __init__(self, root: Path, folders: Iterable[str]):
        self.root = root
        self.folders = [folder for folder in dict.fromkeys(folders) if not folder or (root / folder).is_dir()] or [""]

    def find(self, file_name: str) -> str:
        """Return the name of a photo from the data folder on.

        Tools write paths of other machines, or backslashes: then the photo of that last part is meant.
        """
        plain = file_name.replace("\\", "/")
        inside = name_fault(file_name) is None
        for name in (plain,) if inside else (plain, PurePosixPath(plain).name):
            for folder in self.folders:
                whole = f"{folder}/{name}" if folder else name
                if name_fault(whole) is None and photo_path(self.root, whole).is_file():
                    return PurePosixPath(whole).as_posix()
        return f"{self.folders[0]}/{file_name}" if inside and self.folders[0] else file_name


def entries(root: Path) -> list[str]:
    """Return the names of what is in a folder, in order, without what is hidden."""
    try:
        return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
