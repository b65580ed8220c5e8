"""Reads a folder of photos with labels in any known format, which is found by looking at the folder."""

from pathlib import Path

from trainable.classes import Classes
from trainable.coco.json_file import listed_names, not_a_folder
from trainable.data_errors import DataError, Problem
from trainable.formats.cityscapes import CITYSCAPES
from trainable.formats.coco_folders import COCO_FOLDERS
from trainable.formats.competition import COMPETITION_FORMAT, RECORDS
from trainable.formats.data_format import DataFormat, bad_names, entries, fail, files_below
from trainable.formats.labelme import LABELME
from trainable.formats.mask_folders import MASK_FOLDERS
from trainable.formats.roboflow import ROBOFLOW
from trainable.formats.single_json import SINGLE_JSON
from trainable.formats.voc import VOC
from trainable.formats.yolo import YOLO
from trainable.images.photo_files import SUFFIXES
from trainable.labelled_photos import Dataset

FORMATS: tuple[DataFormat, ...] = (
    COMPETITION_FORMAT, ROBOFLOW, COCO_FOLDERS, SINGLE_JSON, YOLO, LABELME, MASK_FOLDERS, VOC, CITYSCAPES,
)  # fmt: skip

SHOWN = 12
"""Entries of a folder that are told."""


def read_data(root: Path, classes: Classes | None = None) -> Dataset:
    """Read all photos with labels of a folder.

    Args:
        root: the folder, in any of FORMATS.
        classes: what its classes are to be; those that the data has where not given.

    Raises:
        DataError: there is no such folder, it is of no known format, of two, or cannot be read as a whole. Faults of
            single photos are returned in `problems`, for `check` to raise or drop.
    """
    root = _folder(root)
    return find_format(root).read(root, classes)


def find_test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos of a folder that are to be predicted, by their names from it on; none where it has none.

    Raises:
        DataError: see `read_data`; or a name points out of the folder.
    """
    root = _folder(root)
    if (root / "test.json").is_file() and not COMPETITION_FORMAT.recognise(root):
        names = COMPETITION_FORMAT.test_photos(root)  # a folder of nothing but photos to predict
    else:
        names = find_format(root).test_photos(root)
    if faults := bad_names(names):
        raise DataError(root, tuple(faults))
    return names


def data_files(root: Path) -> tuple[str, ...]:
    """Return the files of labels and photos of a folder, by their names from it on.

    In the competition's layout these are the json files and the photos they list; else all that may be such.

    Raises:
        DataError: see `read_data`.
    """
    root = _folder(root)
    records = [name for name in RECORDS if (root / name).is_file()]
    if records:
        photos = sorted({file_name for name in records for file_name in listed_names(root / name)})
        if faults := bad_names(photos):
            raise DataError(root, tuple(faults))
        return (*records, *photos)
    find_format(root)
    return tuple(files_below(root, "", (*SUFFIXES, ".json", ".txt", ".csv", ".yaml", ".yml")))


def find_format(root: Path) -> DataFormat:
    """Return the format of a folder.

    Raises:
        DataError: it is of none, or of two.
    """
    found = {each.name: evidence for each in FORMATS if (evidence := each.recognise(root))}
    if len(found) == 1:
        (name,) = found
        return next(each for each in FORMATS if each.name == name)
    if found:
        told = "; ".join(f"{name} ({evidence:.200})" for name, evidence in found.items())
        raise fail(root, f"it may be of {len(found)} formats: {told}. Move what is not to train out of the folder")
    raise fail(root, _unknown(root))


def _unknown(root: Path) -> str:
    """Say what was looked for and found."""
    inside = entries(root)
    told = [(name if name.isprintable() else repr(name)) + "/" * (root / name).is_dir() for name in inside[:SHOWN]]
    holds = f"it holds {', '.join(told)}" if inside else "it is empty"
    more = f" and {len(inside) - SHOWN} more" if len(inside) > SHOWN else ""
    known = "".join(f"\n    {each.looks_for} ({each.name})" for each in FORMATS)
    inner = [name for name in inside[:SHOWN] if (root / name).is_dir() and _recognised(root / name)]
    if inner:
        return f"no labels of a known format ({holds}{more}); {inner[0]}/ has some: pass --data {root / inner[0]}"
    return f"no labels of a known format: {holds}{more}. Looked for one of{known}"


def _recognised(folder: Path) -> bool:
    return any(each.recognise(folder) for each in FORMATS)


def _folder(root: Path) -> Path:
    root = Path(root).absolute()
    if fault := not_a_folder(root):
        raise DataError(root, (Problem(None, fault),))
    return root
