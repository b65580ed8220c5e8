"""COCO as Roboflow exports it: train/_annotations.coco.json beside its photos, and so for valid/ and test/."""

from pathlib import Path

from trainable.classes import Classes
from trainable.coco.reader import read_parts
from trainable.formats.data_format import TEST, DataFormat, fail, located_names, located_part, split_folders
from trainable.labelled_photos import Dataset

FILE = "_annotations.coco.json"


def _folders(root: Path) -> dict[str, str]:
    return {folder: split for folder, split in split_folders(root).items() if (root / folder / FILE).is_file()}


def recognise(root: Path) -> str | None:
    """Return the files of labels that there are."""
    return ", ".join(f"{folder}/{FILE}" for folder in _folders(root)) or None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read train/ and valid/; test/ has labels, but trains in no fold."""
    labelled = {folder: split for folder, split in _folders(root).items() if split != TEST}
    if not labelled:
        raise fail(root, f"only test/{FILE} found; training needs train/{FILE}, or valid/{FILE}")
    parts = [located_part(root, f"{folder}/{FILE}", [folder], split) for folder, split in labelled.items()]
    return read_parts(root, parts, classes, f"COCO as Roboflow exports it ({', '.join(part.name for part in parts)})")


def test_photos(root: Path) -> tuple[str, ...]:
    """Return what test/ lists."""
    tests = [folder for folder, split in _folders(root).items() if split == TEST]
    return tuple(name for folder in tests for name in located_names(root, f"{folder}/{FILE}", [folder]))


ROBOFLOW = DataFormat("COCO of Roboflow", f"train/{FILE}, valid/{FILE}", recognise, read, test_photos)
