"""Reads and checks photos with COCO annotations in the competition's layout.

A data folder holds `train_all.json`, or `train.json` and `val.json`, beside the photos their `file_name`s point to
(`batch_01_vt/0002.jpg`, ...). Other formats that speak COCO's terms are read as `Part`s, see `trainable/formats`.
Reading never stops at the first fault: every problem is collected, so that a user can mend them all at once (`check`)
or go on without the bad photos (`skip_bad`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.classes import COMPETITION, IGNORE_INDEX, Classes
from trainable.coco.entries import Annotations, Categories, id_order
from trainable.coco.ids import Id
from trainable.coco.images import plain_name, read_images
from trainable.coco.json_file import load, not_a_folder
from trainable.coco.own_classes import choose_classes
from trainable.data_errors import DataError, Note, Problem
from trainable.labelled_photos import Dataset, Photo

SPLITS = {"train.json": "train", "val.json": "val"}


@dataclass(frozen=True)
class Part:
    """A COCO file, or what another format says in COCO's terms."""

    name: str  # for what is told
    content: dict[str, Any]  # lists images, annotations and categories; a file_name begins at the data folder
    hash: str  # sha256 over the bytes that it was read from
    split: str | None = None  # `train` or `val`, where the data says it


def read_training(root: Path, names: Sequence[str] = (), classes: Classes | None = None) -> Dataset:
    """Read the annotated photos of a data folder: `train_all.json`, else `train.json` and `val.json` together.

    Args:
        root: the folder.
        names: the json files to read in place of those.
        classes: what the categories are to be; those that the data has where not given.

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
    return read_parts(root, [read_part(root, name) for name in names], classes, f"COCO ({', '.join(names)})")


def read_part(root: Path, name: str) -> Part:
    """Read one COCO file of a data folder, whose photos are named from the folder on.

    Raises:
        DataError: the file is no COCO json as a whole.
    """
    raw = (root / name).read_bytes()
    return Part(name, load(root / name, raw), hashlib.sha256(raw).hexdigest(), SPLITS.get(name))


def read_parts(root: Path, parts: Sequence[Part], classes: Classes | None, data_format: str) -> Dataset:
    """Read photos and annotations; every photo is looked up and its header read.

    Args:
        root: folder that the photos' names begin at.
        parts: what says which photos there are, and their annotations.
        classes: what the categories are to be; those that the data has where not given.
        data_format: what the folder is read as, in words.

    Raises:
        DataError: the categories cannot be classes.
    """
    read = [(part, Categories.read(part.content["categories"])) for part in parts]
    class_notes: list[Note] = []
    if classes is None:
        try:
            classes, class_notes = _choose(read)
        except ValueError as error:
            raise DataError(root, (Problem(None, f"{' and '.join(part.name for part in parts)}: {error}"),)) from None
    sets = [_read(root, part, categories, classes) for part, categories in read]
    photos = tuple(photo for each in sets for photo in each.photos)
    problems = [problem for each in sets for problem in each.problems]
    names = [part.name for part in parts]
    for spellings in _repeated([photo.file_name for photo in photos]):
        text = f"photo {' or '.join(spellings)} is listed twice; keep one entry, with the annotations of both"
        problems += [Problem(file_name, f"{' and '.join(names)}: {text}") for file_name in spellings]
    empty = [name for name, each in zip(names, sets, strict=True) if _all_background(each)]
    if not any(photo.annotations for photo in photos) and (photos or not problems):
        empty = empty or [" and ".join(names)]
    problems += [Problem(None, f"{name}: no photo has a valid annotation; the split is empty") for name in empty]
    notes = (*class_notes, *(note for each in sets for note in each.notes))
    given = {photo.file_name: part.split for part, each in zip(parts, sets, strict=True)
             if part.split for photo in each.photos}  # fmt: skip
    digest = hash_of([part.hash for part in parts], classes)
    return Dataset(root, photos, tuple(problems), digest, notes, classes, data_format, given)


def hash_of(hashes: Sequence[str], classes: Classes) -> str:
    """Return sha256 over the hashes of files of labels, and over classes that are not the competition's."""
    own = "" if classes == COMPETITION else json.dumps(classes.to_dict(), sort_keys=True)
    return hashlib.sha256(("".join(hashes) + own).encode()).hexdigest()


def _choose(read: Sequence[tuple[Part, Categories]]) -> tuple[Classes, list[Note]]:
    used: dict[str, Id] = {}
    for part, categories in read:
        for name, own_id in categories.names_used(part.content["annotations"]).items():
            used[name] = min(used.get(name, own_id), own_id, key=id_order)
    return choose_classes(used, list(dict.fromkeys(name for _, each in read for name in each.name_of.values())))


def _read(root: Path, part: Part, categories: Categories, classes: Classes) -> Dataset:
    """Read one part; its hash and split are of no use here."""
    problems: list[Problem] = []
    notes: list[Note] = []
    images = read_images(part.name, root, part.content["images"], problems, notes)
    annotations = Annotations(part.name, images, categories, classes)
    annotations.read(part.content["annotations"])
    unfit = [
        Problem(None, f"{part.name}: {text}")
        for text in categories.problems(annotations.used, annotations.unlisted, classes)
    ]
    uncovered = 0 if classes.background else IGNORE_INDEX
    photos = tuple(
        Photo(own.file_name, own.path, own.height, own.width, tuple(annotations.sound[image_id]), uncovered=uncovered)
        for image_id, own in images.by_id.items()
    )
    if not part.content["images"]:
        problems.append(Problem(None, f"{part.name}: lists no photos; the split is empty"))
    all_problems = (*unfit, *problems, *annotations.problems)
    return Dataset(root, photos, all_problems, part.hash, (*notes, *annotations.notes), classes)


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
