"""Configs trained on several folds: each over all its photos, predicted by the model that did not train on them.

`trainable/finalists.py` says which models of a trial count.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.groups import places
from analysis.trials import Trial, Trials
from trainable.bootstrap import Interval, mean_ious, miou_interval
from trainable.finalists import fold_models


@dataclass(frozen=True)
class Finalist:
    """A config over several folds."""

    trial: Trial
    val_miou_of: dict[int, float]  # by fold
    photos: int
    interval: Interval  # of val_miou over the photos of all its folds
    group: str  # among the finalists, over the photos all of them have; empty where there are none


def finalists(found: Trials) -> list[Finalist]:
    """Return the trials of more than one fold, the best over the photos that all of them have first."""
    by_trial = {trial.label: _matrices(found, trial) for trial in found.trials}
    trials = [trial for trial in found.trials if len(by_trial[trial.label]) > 1]
    pooled = [_by_photo(by_trial[trial.label]) for trial in trials]
    common = sorted(set.intersection(*map(set, pooled))) if pooled else []
    placed = places([np.stack([each[name] for name in common]) for each in pooled]) if common else []
    ranked = []
    for position, (trial, each) in enumerate(zip(trials, pooled, strict=True)):
        folds = {fold: float(mean_ious(part["at_256"])[0]) for fold, part in by_trial[trial.label].items()}
        interval, group = miou_interval(np.stack(list(each.values()))), placed[position].group if placed else ""
        order = placed[position].interval.value if placed else interval.value
        ranked.append((order, Finalist(trial, folds, len(each), interval, group)))
    return [finalist for _, finalist in sorted(ranked, key=lambda each: -each[0])]


def _matrices(found: Trials, trial: Trial) -> dict[int, dict[str, NDArray[Any]]]:
    """Return the confusion matrices of each of a trial's folds that can be read."""
    if not trial.folder.further_folds():
        return {}
    models = found.part(lambda: fold_models(trial.folder), f"trial {trial.label}, folds") or {}
    read = {
        fold: found.part(folder.confusion, f"trial {trial.label}, fold {fold}, confusion.npz")
        for fold, folder in models.items()
    }
    return {fold: arrays for fold, arrays in read.items() if arrays}


def _by_photo(folds: dict[int, dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {str(name): matrix for part in folds.values()
            for name, matrix in zip(part["file_names"], part["at_256"], strict=True)}  # fmt: skip
