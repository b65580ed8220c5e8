"""Reads and checks photos with COCO annotations in the competition's layout, and draws their masks.

A data folder holds `train_all.json`, or `train.json` and `val.json`, beside the photos their `file_name`s point to
(`batch_01_vt/0002.jpg`, ...). Reading never stops at the first fault: every problem is collected, so that a user can
mend them all at once (`check`) or go on without the bad photos (`skip_bad`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from trainable.classes import IGNORE_INDEX
from trainable.coco.annotations import Annotation
from trainable.coco.entries import Annotations, Categories
from trainable.coco.images import plain_name, read_images
from trainable.coco.json_file import load, not_a_folder
from trainable.data_errors import DataError, Note, Problem


@dataclass(frozen=True)
class Photo:
    """One photo and its annotations. `file_name` is its name everywhere: ids differ between the json files."""

    file_name: str
    path: Path
    height: int  # pixels
    width: int  # pixels
    annotations: tuple[Annotation, ...]
    confidence: Path | None = None  # grey picture of how sure each pixel's label is, 255 is certain


@dataclass(frozen=True)
class Dataset:
    """The annotated photos of a data folder, and all that was found wrong with them."""

    root: Path
    photos: tuple[Photo, ...]
    problems: tuple[Problem, ...]
    json_hash: str  # sha256 over the json files read
    notes: tuple[Note, ...] = ()  # what was mended or left out of photos that are kept


def read_training(root: Path, names: Sequence[str] = ()) -> Dataset:
    """Read the annotated photos of a data folder: `train_all.json`, else `train.json` and `val.json` together.

    Args:
        root: the folder.
        names: the json files to read in place of those.

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


def check(dataset: Dataset, skip_bad: bool = False) -> Dataset:
    """Return the data set if nothing is wrong with it, or, with `skip_bad`, without its bad photos.

    Raises:
        DataError: there are problems; with `skip_bad`, only if some are not about single photos, or no photo is left.
    """
    if not dataset.problems:
        return dataset
    bad = {problem.file_name for problem in dataset.problems}
    good = tuple(photo for photo in dataset.photos if photo.file_name not in bad)
    if not skip_bad or None in bad or not good:
        raise DataError(dataset.root, dataset.problems, skipping=skip_bad)
    return replace(dataset, photos=good)


def draw_mask(photo: Photo) -> NDArray[np.uint8]:
    """Draw the class index of each pixel, uint8 (height, width), as the competition's own loader does; or IGNORE_INDEX.

    Larger annotations are drawn first and smaller ones over them (painter's order, ties in file order), rasterised by
    pycocotools: `cv2.fillPoly` gives other edges. An annotation is as large as what it covers: the json's `area` is
    that of the box in some tools' files, or 0, and where it is right the order is the same.
    """
    mask = np.zeros((photo.height, photo.width), np.uint8)
    for annotation in sorted(photo.annotations, key=lambda annotation: annotation.area, reverse=True):
        mask[rle_masks.decode(annotation.rle) == 1] = IGNORE_INDEX if annotation.ignore else annotation.class_index
    return mask


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
