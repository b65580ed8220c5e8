"""Which config the final model has, and for how many epochs it trains: both from the cross-validation.

The config is that of the leaderboard's first trial, be it finished or stopped early; of trials that were confirmed on
further folds, that of the first finalist. The model that trains on all photos has none to validate on. Its epochs are
those after which the config did best on the folds: the highest of the mean curve over the folds, smoothed, so that one
lucky epoch does not decide. Of a trial that never had its full budget they are the best of those that it trained: no
fold says what comes after them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.counts import counted
from trainable.metric.bootstrap import mean_ious
from trainable.metric.paired_comparison import Standing
from trainable.run_folder.fold_models import broken, fold_models, last_standing, pooled_confusion, tallies_of, trainings
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import FINISHED, RUNNING
from trainable.storage.record_checks import DAMAGE

NEIGHBOURS = 0.05
"""Share of the budget that a smoothed epoch is the weighted mean of, itself in the middle; three epochs at least."""


@dataclass(frozen=True)
class Chosen:
    """A config, the trainings of it that the epochs are chosen on, and where the final model's training ends."""

    trial: TrialFolder
    folds: tuple[int, ...]
    curve: tuple[float, ...]  # mean val_miou over the folds, by epoch; of a trial that was stopped, as far as it came
    smoothed: tuple[float, ...]
    why: str

    @property
    def epochs(self) -> int:
        """The epochs to train, 1 to the budget."""
        return int(np.argmax(self.smoothed)) + 1


def choose(run: RunFolder, number: int | None = None) -> Chosen:
    """Return a trial's config, or the best one's, with the epochs that its curves speak for.

    Where trials were confirmed on further folds, the best is the finalists' leader. Otherwise it is the trial with the
    highest val_miou over all photos of its folds, each predicted by the model that did not train on it: the
    leaderboard's first, unless that is still training.

    Raises:
        ValueError: no trial, or not the one asked for, has ended an epoch, or a file is damaged.
    """
    models_of = {folder.number: models for folder in run.trials() if (models := _models(folder))}
    if number is not None and number not in models_of:
        numbers = ", ".join(map(str, models_of)) or "none"
        raise ValueError(f"trial {number} of {run.path} has no training to go by; those that have: {numbers}")
    if not models_of:
        raise ValueError(f"no trial of {run.path} has ended an epoch: go on with the search, by --resume")
    if number is None:
        number, why = _best(run, models_of)
    else:
        why = f"asked for; trained on {_folds(models_of[number])}"
    whole = {fold: folder for fold, folder in models_of[number].items() if folder.status().state == FINISHED}
    counted = whole or models_of[number]
    curves = [read_curve(folder) for folder in counted.values()]
    if not whole:
        why += f"; {_ended_early(run.trial(number), len(curves[0]))}"
    mean, budget = np.mean(curves, axis=0), run.trial(number).config()["epochs"]
    return Chosen(run.trial(number), tuple(counted), tuple(mean.tolist()), tuple(smooth(mean, budget).tolist()), why)


def _best(run: RunFolder, models_of: Mapping[int, Mapping[int, TrialFolder]]) -> tuple[int, str]:
    """Return the trial that leads, and in words what that means."""
    if standing := _finalists(run, models_of):
        return standing.leader, standing.verdict()
    most = max(len(models) for models in models_of.values())
    scores = {trial: _score(models) for trial, models in models_of.items() if len(models) == most}
    number = max(scores, key=lambda trial: scores[trial])
    of = f"the best of {len(scores)} trials" if len(scores) > 1 else "the only trial"
    why = f"{of} trained on {_folds(models_of[number])}, val_miou {scores[number]:.4f}"
    ahead = {folder.number: best for folder in run.trials() if (best := _running(folder)) > scores[number]}
    if not ahead or most > 1:
        return number, why
    first = max(ahead, key=lambda trial: ahead[trial])
    return number, f"{why}, of those that have ended; trial {first} is still training and has {ahead[first]:.4f}"


def _finalists(run: RunFolder, models_of: Mapping[int, Mapping[int, TrialFolder]]) -> Standing | None:
    confirmed = {number: run.trial(number) for number, models in models_of.items() if len(models) > 1}
    own = {trial.config()["fold"] for trial in confirmed.values()}
    with _readable(folder for number in confirmed for folder in models_of[number].values()):
        results = {
            number: {cell: tallies_of(folder) for cell, folder in trainings(trial).items()}
            for number, trial in confirmed.items()
            if not broken(trial)
        }
    return last_standing(results, own)


def _models(trial: TrialFolder) -> dict[int, TrialFolder]:
    """Return the models of a trial's config by the fold that validates, if they have ended an epoch."""
    if not (trial.path / "config.json").exists():
        return {}
    return {fold: folder for fold, folder in fold_models(trial).items() if folder.curve_file.exists()}


def _running(trial: TrialFolder) -> float:
    """Return the best val_miou of a trial that is still training, else 0."""
    if not (trial.path / "trial.json").exists() or trial.status().state != RUNNING:
        return 0.0
    return max((row["val_miou"] for row in trial.curve()), default=0.0)


def _ended_early(trial: TrialFolder, epochs: int) -> str:
    status = trial.status()
    reason = f" ({status.reason})" if status.reason else ""
    return f"{status.state} after {epochs} of {counted(trial.config()['epochs'], 'epoch')}{reason}"


def read_curve(folder: TrialFolder) -> list[float]:
    """Return val_miou by epoch of a training, all of its budget if it is finished.

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
    least = budget if folder.status().state == FINISHED else 1
    counted = least <= len(epochs) <= budget and epochs == list(range(1, len(epochs) + 1))
    if not counted or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{path} should have epochs 1 to {budget}, found {len(rows)} rows; name another --trial")
    return values


def smooth(curve: Sequence[float] | NDArray[np.float64], budget: int) -> NDArray[np.float64]:
    """Return the mean of each epoch and its neighbours, those that there are, which count less the farther they are.

    The curve may have fewer epochs than the budget: those that a stopped trial trained.
    """
    values = np.asarray(curve, np.float64)
    side = max(1, round(NEIGHBOURS * budget / 2))
    epochs = np.arange(len(values))
    weights = np.maximum(side + 1 - np.abs(epochs[:, None] - epochs), 0)
    return weights @ values / weights.sum(1)


def _score(models: Mapping[int, TrialFolder]) -> float:
    with _readable(models.values()):
        return float(mean_ious(pooled_confusion(models)[1])[0])


@contextmanager
def _readable(folders: Iterable[TrialFolder]) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        where = " or ".join(str(folder.path) for folder in folders)
        raise ValueError(f"confusion.npz in {where} cannot be read ({error}); name a --trial to take") from error


def _folds(models: Mapping[int, TrialFolder]) -> str:
    return f"fold{'s' if len(models) > 1 else ''} {', '.join(map(str, models))}"
