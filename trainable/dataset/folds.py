"""The folds of a cross-validation, as `folds.json` holds them; `trainable/dataset/stratified_folds.py` makes them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.classes import COMPETITION
from trainable.config import NO_FOLD
from trainable.counts import agrees, counted
from trainable.dataset.fold_balancing import even
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import folds_rule, read_record


@dataclass(frozen=True)
class Folds:
    """The fold of every photo, as `folds.json` holds it."""

    count: int
    seed: int
    fold_of: dict[str, int]  # by file name
    photos_with_class: tuple[tuple[int, ...], ...]  # (folds, C) photos that hold each class
    scenes: int  # groups of more than one photo
    largest_scene: int = 1  # photos
    example: str = ""  # a photo of the largest scene; not known of older runs
    fewer: int = 0  # folds that these photos can be dealt into evenly where these are uneven; 0: none is known
    classes: tuple[str, ...] = COMPETITION.names
    both_sides: int = 0  # scenes with photos that validate and photos that train, where the data says which do
    known: int = 0  # photos that validate in such scenes

    @property
    def hash(self) -> str:
        """Identify the split: two runs can be compared or ensembled only if theirs are equal."""
        return hashlib.sha256(json.dumps(sorted(self.fold_of.items())).encode()).hexdigest()[:16]

    @property
    def sizes(self) -> list[int]:
        """Return the photos of each fold."""
        dealt = list(self.fold_of.values())
        return [dealt.count(fold) for fold in range(self.count)]

    @property
    def warning(self) -> str:
        """Say what makes scores less sure: scenes on both sides, or folds that are not within 20% of each other.

        Empty where there is nothing to say, or folds differ by one photo.
        """
        if self.both_sides:
            return both_sides_text(self.both_sides, self.known, sum(self.sizes))
        if even(self.sizes) or not self.example:
            return ""
        least, most, scene = min(self.sizes), max(self.sizes), self.largest_scene
        remedy = f"take --folds {self.fewer}, or add" if self.fewer else "add"
        return (
            f"the folds have {least} to {most} photos, as photos of one scene share a fold: the largest scene has "
            f"{scene} of the {len(self.fold_of)} photos, such as {self.example}. Scores of small folds are less sure; "
            f"for folds of about one size {remedy} photos of other scenes"
        )

    def absent(self) -> list[tuple[int, str]]:
        """Return (fold, class name) of each class that no photo of a fold holds."""
        table = self.photos_with_class
        return [(k, name) for k in range(self.count) for c, name in enumerate(self.classes) if not table[k][c]]

    def split(self, file_names: tuple[str, ...], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions in `file_names` of the training and the validation photos of a fold; -1: all train.

        Raises:
            ValueError: there is no such fold, or a photo that no fold was dealt.
        """
        if not NO_FOLD <= fold < self.count:
            raise ValueError(f"fold must be 0 to {self.count - 1}, or {NO_FOLD} to train on all, found {fold}")
        unknown = [name for name in file_names if name not in self.fold_of]
        if unknown:
            raise ValueError(
                f"the folds do not know {unknown[0]} ({len(unknown)} such photos): they were made from other data; "
                "start a new run"
            )
        if fold == NO_FOLD:
            return np.arange(len(file_names)), np.array([], np.int64)
        fold_of = np.array([self.fold_of[name] for name in file_names])
        return np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)

    def write(self, path: Path) -> None:
        """Write `folds.json`."""
        write_json(path, {**self.__dict__, "warning": self.warning, "hash": self.hash})

    @classmethod
    def read(cls, path: Path) -> "Folds":
        """Read `folds.json`.

        Raises:
            DamagedError: it is none.
        """
        content: dict[str, Any] = read_record(path, folds_rule)
        table = tuple(tuple(row) for row in content["photos_with_class"])
        later = {
            name: content[name]
            for name in ("largest_scene", "example", "fewer", "both_sides", "known")
            if name in content
        }
        classes = tuple(content["classes"])
        return cls(
            content["count"], content["seed"], content["fold_of"], table, content["scenes"], classes=classes, **later
        )


def both_sides_text(scenes: int, photos: int, val: int) -> str:
    """Return what it means that scenes lie on both sides of the data's own split.

    Args:
        scenes: that do, one at least.
        photos: of them that validate.
        val: photos that validate in all.
    """
    like = agrees(photos, "looks", "look")
    return (
        f"{counted(scenes, 'scene')} {agrees(scenes, 'lies', 'lie')} on both sides of the data's own split: {photos} "
        f"of the {val} photos that validate {like} like one that trains. Where they show the same things, scores come "
        "out too high; without --folds given, photos that look alike share a fold"
    )
