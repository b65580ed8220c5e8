"""COCO files in annotations/: instances_default.json of CVAT, instances_train2017.json of COCO itself, and the like."""

from pathlib import Path

from trainable.classes import Classes
from trainable.coco.reader import read_parts
from trainable.formats.data_format import TEST, DataFormat, fail, located_names, located_part, split_of, subfolders
from trainable.labelled_photos import Dataset

FOLDER = "annotations"
PREFIX = "instances_"
UNLABELLED = "image_info_"
"""How COCO calls the lists of its test photos."""


def _files(root: Path) -> dict[str, str | None]:
    """Return the files of labels, each with its split, by their names from the data folder on."""
    found: dict[str, str | None] = {}
    for folder in subfolders(root, (FOLDER,)):
        for path in sorted((root / folder).glob("*.json")):
            if path.name.startswith((PREFIX, UNLABELLED)) or split_of(path.stem):
                found[f"{folder}/{path.name}"] = TEST if path.name.startswith(UNLABELLED) else split_of(path.stem)
    return found


def _photo_folders(file: str) -> list[str]:
    """Return where the photos of a file of labels may be."""
    subset = Path(file).stem.removeprefix(PREFIX).removeprefix(UNLABELLED)
    return [f"images/{subset}", "images", subset, f"data/{subset}", "data", ""]


def recognise(root: Path) -> str | None:
    """Return the files of labels that there are."""
    files = _files(root)
    return ", ".join(files) if set(files.values()) - {TEST} else None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read all files of labels but those of test photos.

    Raises:
        DataError: one file has no split where others have, so that photos may be in two.
    """
    labelled = {file: split for file, split in _files(root).items() if split != TEST}
    if None in labelled.values() and len(labelled) > 1:
        names = " and ".join(Path(file).name for file in labelled)
        if set(labelled.values()) != {None}:
            raise fail(root, f"{FOLDER}/ holds {names}; keep one of all photos, or those of train and val alone")
    parts = [located_part(root, file, _photo_folders(file), split) for file, split in labelled.items()]
    return read_parts(root, parts, classes, f"COCO files in a folder of annotations ({', '.join(labelled)})")


def test_photos(root: Path) -> tuple[str, ...]:
    """Return what the files of test photos list."""
    tests = [file for file, split in _files(root).items() if split == TEST]
    return tuple(dict.fromkeys(name for file in tests for name in located_names(root, file, _photo_folders(file))))


COCO_FOLDERS = DataFormat(
    "COCO of CVAT, or COCO's own", f"{FOLDER}/{PREFIX}NAME.json beside images/", recognise, read, test_photos
)
