"""One COCO file for all photos: result.json of Label Studio, annotations.json of TACO and of labelme2coco, ..."""

from pathlib import Path

from trainable.classes import Classes
from trainable.coco.reader import read_parts
from trainable.formats.data_format import DataFormat, fail, located_part
from trainable.labelled_photos import Dataset

FILES = (
    "result.json", "annotations.json", "dataset.json", "trainval.json", "instances_default.json", "coco.json",
    "labels.json", "_annotations.coco.json",
)  # fmt: skip

PHOTOS = ("", "images", "data", "JPEGImages")
"""Where its photos may be."""


def _found(root: Path) -> list[str]:
    if (root / "train_all.json").is_file():  # `trainable.taco` writes it beside TACO's own
        return []
    return [name for name in FILES if (root / name).is_file()]


def recognise(root: Path) -> str | None:
    """Return the files of labels that there are."""
    return ", ".join(_found(root)) or None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read the one file.

    Raises:
        DataError: there are several, or it is none.
    """
    found = _found(root)
    if len(found) > 1:
        raise fail(root, f"{' and '.join(found)} may both hold the labels; move the others out of the folder")
    return read_parts(root, [located_part(root, found[0], PHOTOS, None)], classes, f"one COCO file ({found[0]})")


def _no_photos(root: Path) -> tuple[str, ...]:
    return ()


SINGLE_JSON = DataFormat(
    "one COCO file, as of Label Studio or TACO", ", ".join(FILES[:3]) + " beside images/", recognise, read, _no_photos
)
