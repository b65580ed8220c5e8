"""Further training photos, which train in every fold and never validate: an `--extra` folder.

It is a data folder with labels of its own, or one of pseudo labels, which `pseudo.json` tells:

    train_all.json          labels by all models, for a training on all photos
    fold_0.json ...         labels by the models that validated on a fold, for a training that validates on it: a model
                            that trained on a fold's photos would hand them on through its labels
    confidence/fold_0/NAME.png, confidence/train_all/NAME.png
                            with soft labels: how sure each pixel's is, uint8 at 256 x 256, 255 is certain
    pseudo.json             which runs made them, and how
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainable.classes import COMPETITION, Classes
from trainable.coco.json_file import not_a_folder
from trainable.coco.reader import read_training
from trainable.config import NO_FOLD
from trainable.data_errors import DataError, data_notes
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.folds import Folds
from trainable.formats.reading import read_data
from trainable.labelled_photos import Dataset
from trainable.machine.called_as import command_line
from trainable.storage.atomic_write import read_json

PSEUDO = "pseudo.json"
FACTS = ("round", "mode", "folds", "folds_hash", "runs")
"""What a training needs of it."""

SOFT, HARD = MODES = ("soft", "hard")
"""Soft labels count as much as they are sure, hard ones like any other."""


class ExtraError(ValueError):
    """A folder of further photos cannot be used for a training."""


def labels_name(fold: int) -> str:
    """Return the name of the labels for a training that validates on a fold: its json has it, and its confidences."""
    return "train_all" if fold == NO_FOLD else f"fold_{fold}"


def confidence_path(root: Path, labels: str, file_name: str) -> Path:
    """Return where the confidences of a photo's soft labels are."""
    return root / "confidence" / labels / f"{file_name}.png"


@dataclass(frozen=True)
class Extra:
    """A folder of further training photos."""

    root: Path  # absolute
    pseudo: dict[str, Any] | None  # content of pseudo.json
    hash: str  # sha256 over its files of labels

    @classmethod
    def read(cls, root: Path) -> "Extra":
        """Look at a folder; its labels are read by `dataset`.

        Raises:
            ExtraError: there is no such folder, it has no labels, or its pseudo.json is damaged.
        """
        root = Path(root).absolute()
        if fault := not_a_folder(root, "--extra"):
            raise ExtraError(fault)
        names = sorted([path.name for path in root.glob("fold_*.json")] if (root / PSEUDO).exists() else [])
        names += [name for name in (PSEUDO, "train_all.json", "train.json", "val.json") if (root / name).exists()]
        if not {"train_all.json", "train.json"} & set(names):
            return cls(root, None, _labels_hash(root))
        digest = hashlib.sha256(b"".join(hashlib.sha256((root / name).read_bytes()).digest() for name in names))
        return cls(root, _read_pseudo(root / PSEUDO) if PSEUDO in names else None, digest.hexdigest())

    def describe(self) -> str:
        """Return what kind of labels it has."""
        if self.pseudo is None:
            return "labelled"
        return f"{self.pseudo['mode']} pseudo labels of round {self.pseudo['round']}"

    def record(self) -> dict[str, Any]:
        """Return what a run keeps of it: the hash, and of pseudo labels round and mode."""
        pseudo = self.pseudo or {}
        return {"hash": self.hash, "pseudo": {name: pseudo[name] for name in ("round", "mode") if name in pseudo}}

    def dataset(self, fold: int, folds: Folds, classes: Classes = COMPETITION) -> Dataset:
        """Read the labels for a training that validates on a fold, in the classes of the labelled photos.

        Raises:
            ExtraError: pseudo labels that have none for the fold, or were made on another split of the photos.
            DataError: the labels cannot be read as a whole.
        """
        if self.pseudo is None:
            return read_data(self.root, classes)
        self.check(fold, folds)
        name = labels_name(fold)
        dataset = read_training(self.root, (f"{name}.json",), classes)
        if self.pseudo["mode"] != SOFT:
            return dataset
        photos = tuple(
            replace(photo, confidence=confidence_path(self.root, name, photo.file_name)) for photo in dataset.photos
        )
        return replace(dataset, photos=photos)

    def cache(
        self,
        fold: int,
        folds: Folds,
        labelled: Cache,
        image_size: int,
        cache_dir: Path,
        skip_bad: bool,
        announce: Callable[[str], None] = lambda text: None,
    ) -> Cache:
        """Return the photos with the labels for a training that validates on a fold, see `dataset` and `build_cache`.

        Their classes and frames are those of the labelled photos.

        Raises:
            ExtraError: see `dataset`.
            DataError: the labels or photos have problems.
            DiskFullError: the disk cannot hold the cache.
        """
        dataset = self.dataset(fold, folds, labelled.classes)
        cache, skipped = build_cache(
            dataset, image_size, cache_dir, geometry=labelled.geometry, skip_bad=skip_bad, announce=announce
        )
        for line in data_notes(dataset.notes, skipped):
            announce(f"note: {line} (of {self.root})")
        return cache

    def check(self, fold: int, folds: Folds) -> None:
        """Check that there are labels for a training that validates on a fold.

        Raises:
            ExtraError: pseudo labels that have none for it, or were made on another split of the photos.
        """
        if fold == NO_FOLD or self.pseudo is None:
            return  # no photo validates
        if self.pseudo["folds_hash"] != folds.hash:
            raise ExtraError(
                f"the pseudo labels in {self.root} were made on the folds {self.pseudo['folds_hash']}, this training's "
                f"are {folds.hash}: its validation photos may have trained the models that made the labels. Take the "
                f"data, --folds and --seed of {', '.join(self.pseudo['runs'])}"
            )
        if not (self.root / f"{labels_name(fold)}.json").exists():
            labelled = ", ".join(str(number) for number in self.pseudo["folds"]) or "none"
            raise ExtraError(
                f"{self.root} has pseudo labels for the folds {labelled}, none for fold {fold}: no model of "
                f"{', '.join(self.pseudo['runs'])} validated on it. Confirm the run on all folds "
                f"({command_line('search/run.py', '--confirm', 'RUN')}), then label again"
            )


def _labels_hash(root: Path) -> str:
    try:
        return read_data(root).json_hash
    except DataError as error:
        raise ExtraError(f"--extra {root} is neither a data folder nor one of pseudo labels. {error}") from error


def _read_pseudo(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        missing = [name for name in FACTS if name not in content]
    except (ValueError, TypeError) as error:
        raise ExtraError(f"{path} is damaged ({error}); write the labels again") from error
    if missing:
        raise ExtraError(f"{path} does not tell {', '.join(missing)}; write the labels again")
    return content
