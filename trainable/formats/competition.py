"""The competition's layout: train_all.json, or train.json and val.json, beside the photos."""

from dataclasses import replace
from pathlib import Path

from trainable.classes import Classes
from trainable.coco.json_file import listed_names
from trainable.coco.reader import SPLITS, read_training
from trainable.data_errors import DataError
from trainable.formats.data_format import DataFormat
from trainable.labelled_photos import Dataset

WHOLE, TEST_JSON = "train_all.json", "test.json"

RECORDS = (WHOLE, *SPLITS, TEST_JSON)


def recognise(root: Path) -> str | None:
    """Return which of its files there are; test.json alone has no labels."""
    found = [name for name in RECORDS if (root / name).is_file()]
    return ", ".join(found) if set(found) - {TEST_JSON} else None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Read the photos; train.json and val.json tell the split of those in train_all.json."""
    dataset = read_training(root, classes=classes)
    names = [WHOLE] if (root / WHOLE).is_file() else [*SPLITS]
    given = dataset.given or _given(root)
    known = {photo.file_name for photo in dataset.photos}
    return replace(
        dataset,
        format=f"COCO in the competition's layout ({', '.join(names)})",
        given={name: split for name, split in given.items() if name in known},
    )


def _given(root: Path) -> dict[str, str]:
    try:
        return {name: split for record, split in SPLITS.items() for name in listed_names(root / record)}
    except (DataError, OSError):  # nothing else needs them beside train_all.json
        return {}


def test_photos(root: Path) -> tuple[str, ...]:
    """Return what test.json lists.

    Raises:
        DataError: it is no COCO file.
    """
    return tuple(listed_names(root / TEST_JSON)) if (root / TEST_JSON).is_file() else ()


COMPETITION_FORMAT = DataFormat(
    "the competition's layout", "train_all.json, or train.json and val.json", recognise, read, test_photos
)
