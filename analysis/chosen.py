"""Which config the final model has, and for how many epochs it trains: both from the cross-validation.

The model that trains on all photos has none to validate on. Its epochs are those after which the config did best on the
folds: the highest of the mean curve over the folds, smoothed, so that one lucky epoch does not decide.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.artifacts import FINISHED, RunFolder, TrialFolder
from trainable.bootstrap import mean_ious
from trainable.finalists import fold_models, pooled_confusion
from trainable.records import DAMAGE

NEIGHBOURS = 0.05
"""Share of the budget that a smoothed epoch is the weighted mean of, itself in the middle; three epochs at least."""


@dataclass(frozen=True)
class Chosen:
    """A config, the trainings of it that had their full budget, and where the final model's training ends."""

    trial: TrialFolder
    folds: tuple[int, ...]
    curve: tuple[float, ...]  # mean val_miou over the folds, by epoch
    smoothed: tuple[float, ...]
    why: str

    @property
    def epochs(self) -> int:
        """The epochs to train, 1 to the budget."""
        return int(np.argmax(self.smoothed)) + 1


def choose(run: RunFolder, number: int | None = None) -> Chosen:
    """Return a trial's config, or the best one's, with the epochs that its curves speak for.

    Of trials with full trainings on the most folds the best is that with the highest val_miou over all their photos,
    each predicted by the model that did not train on it.

    Raises:
        ValueError: no trial, or not the one asked for, had its full budget, or a curve is damaged.
    """
    whole = {folder.number: full_trainings(folder) for folder in run.trials()}
    whole = {each: models for each, models in whole.items() if models}
    if number is not None and number not in whole:
        there = ", ".join(map(str, whole)) or "none"
        raise ValueError(f"trial {number} of {run.path} had no full training; those that had: {there}")
    if not whole:
        raise ValueError(f"no trial of {run.path} had its full budget: go on with the search, by --resume")
    if number is None:
        most = max(len(models) for models in whole.values())
        scores = {each: _score(models) for each, models in whole.items() if len(models) == most}
        number = max(scores, key=lambda each: scores[each])
        why = f"the best of {len(scores)} trials trained on {_folds(whole[number])}, val_miou {scores[number]:.4f}"
    else:
        why = f"asked for; trained on {_folds(whole[number])}"
    models = whole[number]
    curves = np.array([read_curve(folder) for folder in models.values()])
    mean = curves.mean(0)
    return Chosen(run.trial(number), tuple(models), tuple(mean.tolist()), tuple(smooth(mean).tolist()), why)


def full_trainings(trial: TrialFolder) -> dict[int, TrialFolder]:
    """Return the trainings of a trial's config that had their full budget, by the fold that validated."""
    if not (trial.path / "config.json").exists():
        return {}
    return {fold: each for fold, each in fold_models(trial).items() if each.status()["state"] == FINISHED}


def read_curve(folder: TrialFolder) -> list[float]:
    """Return val_miou by epoch of a training that had its full budget.

    Raises:
        ValueError: epochs are missing or the file is damaged.
    """
    path = folder.path / "curve.csv"
    try:
        rows = folder.curve()
        values = [row["val_miou"] for row in rows]
        epochs = [row["epoch"] for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); name another --trial") from error
    budget = folder.config()["epochs"]
    if epochs != list(range(1, budget + 1)) or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{path} should have epochs 1 to {budget}, found {len(rows)} rows; name another --trial")
    return values


def smooth(curve: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each epoch and its neighbours, those that there are, which count less the farther they are."""
    values = np.asarray(curve, np.float64)
    side = max(1, round(NEIGHBOURS * len(values) / 2))
    epochs = np.arange(len(values))
    weights = np.maximum(side + 1 - np.abs(epochs[:, None] - epochs), 0)
    return weights @ values / weights.sum(1)


def _score(models: Mapping[int, TrialFolder]) -> float:
    try:
        return float(mean_ious(pooled_confusion(models)[1])[0])
    except DAMAGE as error:
        where = " or ".join(str(folder.path) for folder in models.values())
        raise ValueError(f"confusion.npz in {where} cannot be read ({error}); name a --trial to take") from error


def _folds(models: Mapping[int, TrialFolder]) -> str:
    return f"fold{'s' if len(models) > 1 else ''} {', '.join(map(str, models))}"
