"""Configs trained on several folds: each over all its photos, predicted by the model that did not train on them.

`trainable/run_folder/fold_models.py` says which models of a trial count, `trainable/metric/paired_comparison.py` which
configs are alike.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.results.trials import Trial, Trials
from trainable.config import NO_FOLD
from trainable.metric.bootstrap import Interval, mean_ious, miou_interval, tallies
from trainable.metric.noise import Cell
from trainable.metric.paired_comparison import Standing
from trainable.run_folder.fold_models import broken, fold_models, last_standing, matrices_of, trainings
from trainable.run_folder.folders import TrialFolder


@dataclass(frozen=True)
class Finalist:
    """A config over several folds."""

    trial: Trial
    val_miou_of: dict[int, float]  # by fold, the mean over the seeds it was trained with
    photos: int
    interval: Interval  # of val_miou over the photos of all its folds; where it is compared, over all seeds
    less_best: Interval | None  # 95% for the whole race; None for the best, and where there is no comparison
    group: str  # A: not shown to be worse than the best, B: shown to be; empty where there is no comparison


@dataclass(frozen=True)
class Final:
    """How the finalists stand."""

    finalists: list[Finalist]  # those alike first, then the closest to the best
    verdict: str  # which is the best, or which cannot be told apart; empty where there is no comparison


def final(found: Trials) -> Final:
    """Return how the trials of more than one fold stand: what `search/run.py --confirm` says of the same trainings."""
    trials = [trained for trained in (_read(found, trial) for trial in found.trials) if len(trained.folds) > 1]
    standing = _standing(trials)
    ranked = standing.ranked if standing else []
    ranked += sorted(set(range(len(trials))) - set(ranked), key=lambda position: -trials[position].interval().value)
    finalists = []
    for position in ranked:
        trained, group, less = trials[position], "", None
        if standing and (position == standing.leader or position in standing.differences):
            group, less = "A" if position in standing.alike else "B", standing.differences.get(position)
        photos = sum(map(len, trained.folds.values()))
        interval = (standing.values.get(position) if standing else None) or trained.interval()
        finalists.append(Finalist(trained.trial, trained.values(), photos, interval, less, group))
    return Final(finalists, standing.verdict(lambda position: trials[position].trial.label) if standing else "")


@dataclass(frozen=True)
class _Trained:
    """The confusion matrices of a trial's trainings, photos by name."""

    trial: Trial
    folds: dict[int, NDArray[Any]]  # of its models
    cells: dict[Cell, NDArray[Any]]  # of all that had their full budget

    def values(self) -> dict[int, float]:
        scores: dict[int, list[float]] = {fold: [] for fold in self.folds}
        for (fold, _), matrices in self.cells.items():
            scores.setdefault(fold, []).append(float(mean_ious(matrices)[0]))
        return {
            fold: float(np.mean(fold_scores or mean_ious(self.folds[fold])))
            for fold, fold_scores in sorted(scores.items())
        }

    def interval(self) -> Interval:
        return miou_interval(np.concatenate(list(self.folds.values())))


def _read(results: Trials, trial: Trial) -> _Trained:
    """Read what can be read of a trial's trainings."""
    if not trial.folder.further_folds():
        return _Trained(trial, {}, {})
    models = results.part(lambda: fold_models(trial.folder), f"trial {trial.label}, folds") or {}
    cells = results.part(lambda: trainings(trial.folder), f"trial {trial.label}, folds") or {}
    folders = {folder.path: folder for folder in (*models.values(), *cells.values())}
    read = {
        path: results.part(partial(matrices_of, folder), f"trial {trial.label}, {_name(folder)}, confusion.npz")
        for path, folder in folders.items()
    }
    folds = {fold: matrices for fold, folder in models.items() if (matrices := read[folder.path]) is not None}
    whole = {cell: matrices for cell, folder in cells.items() if (matrices := read[folder.path]) is not None}
    return _Trained(trial, folds, {} if broken(trial.folder) else whole)


def _name(folder: TrialFolder) -> str:
    return f"fold {folder.path.name}" if folder.path.parent.name == "folds" else "its own fold"


def _standing(trials: list[_Trained]) -> Standing | None:
    """Return how trials stand after the last rung of their race, None where they cannot be compared."""
    results = {
        position: {cell: tallies(matrices) for cell, matrices in trained.cells.items()}
        for position, trained in enumerate(trials)
    }
    return last_standing(results, {trained.trial.config.get("fold", NO_FOLD) for trained in trials})
