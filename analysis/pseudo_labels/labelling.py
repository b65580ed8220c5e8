"""Labels photos by an ensemble: a set for each fold, by the models that did not train on it, and one by all models."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.prediction.ensemble_file import Ensemble
from analysis.pseudo_labels.label_files import LabelFile, check_space, put_photos, scratch_maps, whole_folder
from analysis.pseudo_labels.thresholds import Histogram, Rule, histogram_of, kept_pixels, labels_of
from analysis.pseudo_labels.unlabelled import Found, Unlabelled
from trainable.classes import COMPETITION, Classes
from trainable.config import NO_FOLD
from trainable.counts import counted
from trainable.dataset.extra_photos import PSEUDO, labels_name
from trainable.run_folder.folders import CLASSES_FILE, RunFolder
from trainable.run_folder.out_of_fold import Map
from trainable.storage.atomic_write import write_json

Predict = Callable[[Ensemble, Sequence[Path]], Iterable[Map]]
"""Gives the probabilities times 255 of each photo where the score looks, (C, h, w)."""


@dataclass(frozen=True)
class LabelSet:
    """What one set of labels came to."""

    models: int
    thresholds: NDArray[np.int64]  # (C,) in 255ths
    predicted: NDArray[np.int64]  # (C,) pixels
    kept: NDArray[np.int64]  # (C,) of them, those sure enough
    photos: int  # with any label


def write_labels(
    out: Path,
    ensemble: Ensemble,
    found: Found,
    predict: Predict,
    rule: Rule,
    soft: bool,
    record: dict[str, Any],
    announce: Callable[[str], None] = lambda message: None,
) -> dict[str, LabelSet]:
    """Write the folder of pseudo labels, whole or not at all.

    Args:
        out: the folder, which must not exist.
        ensemble: its models of a fold make that fold's labels, all of them those for a training on all photos.
        found: the photos.
        predict: gives an ensemble's probabilities of photos.
        rule: for the thresholds.
        soft: write how sure each label is.
        record: of pseudo.json, see `pseudo_record`.
        announce: told before each set.

    Returns:
        What each set of labels came to, by name.

    Raises:
        ValueError: `out` exists.
        DiskFullError: the disk cannot hold it.
    """
    makers = {fold: ensemble.of_fold(fold) for fold in ensemble.folds} | {NO_FOLD: ensemble}
    classes, geometry = ensemble.classes, ensemble.geometry
    check_space(out.parent, found.photos, len(makers), geometry.score)
    sets = {}
    with whole_folder(out) as folder:
        put_photos(folder, found.photos)
        for fold, maker in makers.items():
            name, models = labels_name(fold), len(maker.voters)
            announce(f"{name}: {counted(len(found.photos), 'photo')} by {counted(models, 'model')}")
            with scratch_maps(folder, len(found.photos), geometry.score) as scratch:
                file = LabelFile(folder, name, soft, classes, geometry)
                sets[name] = _label(file, maker, found.photos, predict, rule, scratch)
        labels = {name: _facts(label_set, classes) for name, label_set in sets.items()}
        write_json(folder / PSEUDO, {**record, "labels": labels})
        if classes != COMPETITION:
            write_json(folder / CLASSES_FILE, classes.to_dict())
    return sets


def pseudo_record(runs: Sequence[RunFolder], ensemble: Ensemble, found: Found, rule: Rule, mode: str) -> dict[str, Any]:
    """Return what pseudo.json tells of how the labels were made; the round is one above those the runs trained on."""
    searches = [run.record() for run in runs]
    rounds = [((search.content.get("extra") or {}).get("pseudo") or {}).get("round", 0) for search in searches]
    return {
        "round": 1 + max(rounds),
        "mode": mode,
        "rule": rule.__dict__,
        "folds": ensemble.folds,
        "folds_hash": searches[0].folds_hash,
        "data_hash": searches[0].data_hash,
        "ensemble": ensemble.hash,
        "runs": [run.path.name for run in runs],
        "photos": len(found.photos),
        "left_out": {"labelled": found.labelled, "unreadable": found.unreadable},
    }


def _label(
    file: LabelFile,
    maker: Ensemble,
    photos: Sequence[Unlabelled],
    predict: Predict,
    rule: Rule,
    scratch: NDArray[np.uint8],
) -> LabelSet:
    """Write one set of labels; `scratch` (N, 2, h, w) holds classes and confidences until thresholds are known."""
    classes = len(maker.classes)
    histogram: Histogram = np.zeros((classes, 256), np.int64)
    predicted = predict(maker, [photo.path for photo in photos])
    for row, (photo, probabilities) in enumerate(zip(photos, predicted, strict=True)):
        scratch[row, 0], scratch[row, 1] = probabilities.argmax(0), probabilities.max(0)
        height, width = maker.geometry.scored((photo.height, photo.width))
        likeliest, confidence = scratch[row, :, :height, :width]
        histogram += histogram_of(likeliest, confidence, classes)
    thresholds = rule.thresholds(histogram)
    for photo, (likeliest, confidence) in zip(photos, scratch, strict=True):
        file.add(photo, labels_of(likeliest, confidence, thresholds), confidence)
    if not file.images:
        surest = int(np.flatnonzero(histogram.sum(0)).max())
        raise ValueError(f"no label of {file.name} is sure enough: the surest is {surest / 255:.2f}; ask for less")
    file.write()
    label_pixels = kept_pixels(histogram, thresholds)
    return LabelSet(len(maker.voters), thresholds, histogram.sum(1), label_pixels, len(file.images))


def _facts(label_set: LabelSet, classes: Classes) -> dict[str, Any]:
    def by_class(values: NDArray[Any]) -> dict[str, float]:
        return {name: round(float(value), 4) for name, value in zip(classes.names, values, strict=True)}

    shares = label_set.kept / np.maximum(label_set.predicted, 1)
    return {
        "models": label_set.models,
        "photos": label_set.photos,
        "thresholds": by_class(label_set.thresholds / 255),
        "kept": by_class(shares),
    }
