"""YOLO with outlines: data.yaml, and for each photo a text file of lines CLASS X Y X Y ..., shares of the photo."""

import hashlib
import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from trainable.classes import Classes
from trainable.coco.reader import Part, read_parts
from trainable.data_errors import Note, Problem
from trainable.formats.data_format import TEST, DataFormat, fail, photos_below
from trainable.images.photo_files import UNREADABLE, name_fault, photo_path, read_header
from trainable.labelled_photos import Dataset
from trainable.machine.cores import cpu_count

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": TEST}
"""Keys of data.yaml, and what they are for."""

LONGEST = 1_000_000
"""Bytes of data.yaml."""

BARE = "photos without a label file, all background as YOLO has it"


def _files(root: Path) -> list[str]:
    named = [name for name in NAMES if (root / name).is_file()]
    return named or [path.name for path in sorted(root.glob("*.y*ml")) if _is_yolo(path)]


def _is_yolo(path: Path) -> bool:
    try:
        content = _load(path)
    except ValueError:
        return False
    return isinstance(content, dict) and "names" in content and bool({"train", "val"} & set(map(str, content)))


def _load(path: Path) -> Any:
    """Parse a yaml file.

    Raises:
        ValueError: it is none.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError(f"{path.name} has {path.stat().st_size / 1e6:.0f} MB; it lists names and folders only")
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, RecursionError, OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path.name} is not valid yaml ({told:.200}); mend it") from None


@dataclass(frozen=True)
class _Plan:
    """What data.yaml says."""

    names: dict[int, str]  # class names by number
    photos: dict[str, list[str]]  # by split: train, val, test


def _plan(root: Path) -> _Plan:
    """Read data.yaml.

    Raises:
        DataError: it cannot be read, lacks names, or names no folder inside the data folder.
    """
    files = _files(root)
    if len(files) > 1:
        raise fail(root, f"{' and '.join(files)} may both tell of the data; move the others out of the folder")
    try:
        content = _load(root / files[0])
        if not isinstance(content, dict):
            raise ValueError(f"{files[0]} must hold keys names, train and val, found {content!r:.60}")
        names = _names(content.get("names"), files[0])
        base = content.get("path")
        photos: dict[str, list[str]] = {}
        for key, split in SPLITS.items():
            for entry in _entries(content.get(key), key, files[0]):
                own = photos.setdefault(split, [])
                own += [name for name in _photos(root, entry, base, key, files[0]) if name not in set(own)]
    except ValueError as error:
        raise fail(root, str(error)) from None
    return _Plan(names, photos)


def _names(names: Any, file: str) -> dict[int, str]:
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    rule = f"{file}: 'names' is a list of class names, or gives each number from 0 on one"
    if not isinstance(listed, dict) or not listed:
        raise ValueError(f"{rule}, found {names!r:.60}")
    for number, name in listed.items():
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str | int | float):
            raise ValueError(f"{rule}, found {number!r:.30}: {name!r:.60}")
    return {number: str(name) for number, name in listed.items()}


def _entries(value: Any, key: str, file: str) -> list[str]:
    entries = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"{file}: {key!r} is a folder or a list of them, found {value!r:.60}")
    return [entry for entry in entries if entry]


def _photos(root: Path, entry: str, base: Any, key: str, file: str) -> list[str]:
    """Return the photos of a folder, or of a text file that lists them."""
    place = _inside(root, entry, base)
    if place is None and SPLITS[key] == TEST:
        return []  # files often name a folder that was not fetched
    if place is None:
        raise ValueError(
            f"{file}: {key!r} is {entry!r:.80}, and there is no such folder in {root.name}; write it as it is called "
            f"from {file} on, such as images/{key}"
        )
    if (root / place).is_dir():
        inner = f"{place}/images" if place != "." else "images"
        return photos_below(root, inner if (root / inner).is_dir() else place)
    try:
        lines = (root / place).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not text in UTF-8 ({error}); save it as UTF-8") from None
    found = []
    for line in filter(None, map(str.strip, lines)):
        own = _inside(root, line, base) or _inside(root, posixpath.join(posixpath.dirname(place), line), None)
        found.append(own or line)
    return found


def _inside(root: Path, entry: str, base: Any) -> str | None:
    """Return where a path of data.yaml is, from the data folder on; tools write it from folders of other machines."""
    plain = entry.replace("\\", "/")
    parts = [part for part in PurePosixPath(plain).parts if part not in ("..", ".", "/")]
    tries = [plain]
    if isinstance(base, str) and base:
        tries.append(posixpath.join(base.replace("\\", "/"), plain))
    tries += ["/".join(parts[start:]) for start in range(len(parts))]
    for each in tries:
        name = posixpath.normpath(each)
        if name == "." or (name_fault(name) is None and photo_path(root, name).exists()):
            return name
    return None


def recognise(root: Path) -> str | None:
    """Return the yaml file."""
    return ", ".join(_files(root)) or None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read the outlines of the photos for train and val.

    Raises:
        DataError: data.yaml is damaged, or its names cannot be classes.
    """
    plan, parts = _plan(root), []
    problems: list[Problem] = []
    notes: list[Note] = []
    split_of_photo = {name: split for split in ("val", "train") for name in plan.photos.get(split, [])}
    if both := [name for name in plan.photos.get("val", []) if split_of_photo[name] == "train"]:
        problems += [Problem(name, f"photo {name} is for train and for val; keep it in one") for name in both]
    if not split_of_photo:
        raise fail(root, f"{recognise(root)}: 'train' and 'val' name no photo")
    for split in ("train", "val"):
        names = [name for name in plan.photos.get(split, []) if split_of_photo[name] == split]
        if not names:
            continue
        with ThreadPoolExecutor(2 * cpu_count()) as pool:
            labels = list(pool.map(lambda name: _Labels.read(root, name, plan.names), names))
        problems += [problem for each in labels for problem in each.problems]
        notes += [Note(BARE, each.file_name) for each in labels if each.hash is None]
        digest = hashlib.sha256("".join(f"{each.file_name} {each.hash}\n" for each in labels).encode()).hexdigest()
        parts.append(Part(split, _content(labels, plan.names), digest, split))
    dataset = read_parts(root, parts, classes, f"YOLO with outlines ({recognise(root)})")
    return replace(dataset, problems=(*problems, *dataset.problems), notes=(*notes, *dataset.notes))


def _content(labels: list["_Labels"], names: dict[int, str]) -> dict[str, Any]:
    images, annotations = [], []
    for number, each in enumerate(labels, 1):
        images.append({"id": number, "file_name": each.file_name, "height": each.height, "width": each.width})
        annotations += [
            {"id": f"line {line}", "image_id": number, "category_id": own, "segmentation": [polygon]}
            for line, own, polygon in each.outlines
        ]
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


@dataclass
class _Labels:
    """The label file of a photo."""

    file_name: str
    hash: str | None  # sha256 of its bytes; None where there is none
    height: int | None  # pixels; None where the photo cannot be read
    width: int | None
    outlines: list[tuple[int, int, list[float]]]  # line, class number, and x, y, ... in pixels
    problems: list[Problem]

    @classmethod
    def read(cls, root: Path, file_name: str, names: dict[int, str]) -> "_Labels":
        found = cls(file_name, None, None, None, [], [])
        if name_fault(file_name):
            return found
        try:
            header = read_header(photo_path(root, file_name))
        except UNREADABLE:  # told where the photo is looked up
            return found
        found.height, found.width = header.height, header.width
        label = label_name(file_name)
        path = photo_path(root, label)
        if not path.is_file():
            return found
        raw = path.read_bytes()
        found.hash = hashlib.sha256(raw).hexdigest()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            found.problems.append(Problem(file_name, f"{label} is not text in UTF-8 ({error}); save it as UTF-8"))
            return found
        for number, line in enumerate(text.splitlines(), 1):
            try:
                if line.strip():
                    found.outlines.append((number, *_outline(line.split(), names, header.height, header.width)))
            except ValueError as error:
                found.problems.append(Problem(file_name, f"{label}: line {number} of {file_name} {error}"))
        return found


def label_name(file_name: str) -> str:
    """Return the label file of a photo: in labels/ where the photo is in images/."""
    parts = list(PurePosixPath(file_name).with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return "/".join(parts)


def _outline(cells: list[str], names: dict[int, str], height: int, width: int) -> tuple[int, list[float]]:
    """Return the class number and the outline of a line, in pixels.

    Raises:
        ValueError: it breaks a rule; the text goes on after the line's name.
    """
    try:
        own, *shares = map(float, cells)
    except ValueError:
        raise ValueError(f"must be numbers, found {' '.join(cells)!r:.60}") from None
    if own not in names:
        raise ValueError(f"has the class {cells[0]!r:.20}, which data.yaml does not name; it has {_some(names)}")
    if len(shares) == 4:
        raise ValueError("is a box (5 numbers), not an outline; export the labels as YOLO segmentation")
    if len(shares) < 6 or len(shares) % 2:
        raise ValueError(f"has {len(shares)} coordinates; an outline has x and y of 3 points or more")
    scaled = [share * side for share, side in zip(shares, (width, height) * (len(shares) // 2), strict=True)]
    return int(own), scaled


def _some(names: dict[int, str]) -> str:
    return ", ".join(map(str, list(names)[:10])) + (", ..." if len(names) > 10 else "")


def test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos for test.

    Raises:
        DataError: data.yaml is damaged.
    """
    return tuple(_plan(root).photos.get(TEST, []))


YOLO = DataFormat("YOLO with outlines", "data.yaml with names, train and val", recognise, read, test_photos)
