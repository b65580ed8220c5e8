"""Reads and checks photos with COCO annotations in the competition's layout.

A data folder holds `train_all.json`, or `train.json` and `val.json`, beside the photos their `file_name`s point to
(`batch_01_vt/0002.jpg`, ...). Reading never stops at the first fault: every problem is collected, so that a user can
mend them all at once (`check`) or go on without the bad photos (`skip_bad`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from trainable.classes import Classes
from trainable.coco.entries import Annotations, Categories
from trainable.coco.images import plain_name, read_images
from trainable.coco.json_file import load, not_a_folder
from trainable.data_errors import DataError, Note, Problem
from trainable.labelled_photos import Dataset, Photo


def read_training(root: Path, names: Sequence[str] = (), classes: Classes | None = None) -> Dataset:
    """Read the annotated photos of a data folder: `train_all.json`, else `train.json` and `val.json` together.

    Args:
        root: the folder.
        names: the json files to read in place of those.
        classes: what the categories are to be; else those of the data.

    Raises:
        DataError: the folder or its json files are missing or unreadable as a whole. Faults of single photos and
            annotations are returned in `problems`, for `check` to raise or drop.
    """
    root = Path(root).absolute()
    if fault := not_a_folder(root):
        raise DataError(root, (Problem(None, fault),))
    names = names or (["train_all.json"] if (root / "train_all.json").exists() else ["train.json", "val.json"])
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        text = f"{' and '.join(missing)} not found; a data folder holds train_all.json, or train.json and val.json"
        raise DataError(root, (Problem(None, text),))
    parts = [read_json(root / name) for name in names]
    photos = tuple(photo for part in parts for photo in part.photos)
    problems = [problem for part in parts for problem in part.problems]
    for spellings in _repeated([photo.file_name for photo in photos]):
        text = f"photo {' or '.join(spellings)} is listed twice; keep one entry, with the annotations of both"
        problems += [Problem(file_name, f"{' and '.join(names)}: {text}") for file_name in spellings]
    empty = [name for name, part in zip(names, parts, strict=True) if _all_background(part)]
    if not any(photo.annotations for photo in photos) and (photos or not problems):
        empty = empty or [" and ".join(names)]
    problems += [Problem(None, f"{name}: no photo has a valid annotation; the split is empty") for name in empty]
    digest = hashlib.sha256("".join(part.json_hash for part in parts).encode()).hexdigest()
    notes = tuple(note for part in parts for note in part.notes)
    return Dataset(root, photos, tuple(problems), digest, notes)


def read_json(path: Path) -> Dataset:
    """Read one COCO file, such as `test.json`; every photo is looked up and its header read.

    Raises:
        DataError: the file is no COCO json as a whole.
    """
    raw = path.read_bytes()
    content = load(path, raw)
    problems: list[Problem] = []
    notes: list[Note] = []
    images = read_images(path, content["images"], problems, notes)
    categories = Categories.read(content["categories"])
    annotations = Annotations(path, images, categories)
    annotations.read(content["annotations"])
    unfit = [
        Problem(None, f"{path.name}: {text}") for text in categories.problems(annotations.used, annotations.unlisted)
    ]
    photos = tuple(
        Photo(image.file_name, image.path, image.height, image.width, tuple(annotations.sound[image_id]))
        for image_id, image in images.by_id.items()
    )
    if not content["images"]:
        problems.append(Problem(None, f"{path.name}: lists no photos; the split is empty"))
    all_problems = (*unfit, *problems, *annotations.problems)
    return Dataset(path.parent, photos, all_problems, hashlib.sha256(raw).hexdigest(), (*notes, *annotations.notes))


def _all_background(part: Dataset) -> bool:
    """Tell whether a json has photos to train on and annotates none of them, as one whose annotations were lost does.

    Bad photos do not count: they are told of by themselves.
    """
    bad = {problem.file_name for problem in part.problems}
    good = [photo for photo in part.photos if photo.file_name not in bad]
    return bool(good) and not any(photo.annotations for photo in part.photos)


def _repeated(file_names: list[str]) -> list[list[str]]:
    """Return the spellings of each photo that is named more than once."""
    spellings: dict[str, list[str]] = {}
    for file_name in file_names:
        spellings.setdefault(plain_name(file_name), []).append(file_name)
    return [sorted(set(names)) for names in spellings.values() if len(names) > 1]
