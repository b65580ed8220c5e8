"""Tune callbacks that write what happens to each trial into the run folder."""

import contextlib
import math
import time
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.trial import TrialState
from ray import tune
from ray.tune.experiment import Trial
from tensorboardX import SummaryWriter

from search.trial import folder_of
from trainable.artifacts import BROKEN, ENDED, FAILED, FINISHED, INTERRUPTED, RUNNING, STOPPED, RunFolder, TrialFolder


class RecordStates(tune.Callback):
    """Keeps every trial's `trial.json` true. The driver alone writes it, but for the reason of a failure."""

    def __init__(self, run: RunFolder, epochs: int):
        self.run, self.epochs = run, epochs
        self.started: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has a worker."""
        self.started[trial.trial_id] = time.time()
        folder = self._folder(trial)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_status(RUNNING, started=time.time())

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial had its budget, or ASHA ended it."""
        folder = self._folder(trial)
        rows = folder.curve()
        if len(rows) >= self.epochs:
            self._end(trial, folder, FINISHED, f"all {self.epochs} epochs")
        else:
            self._end(trial, folder, STOPPED, f"stopped by ASHA after epoch {len(rows)} of {self.epochs}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial raised, or its process ended."""
        folder = self._folder(trial)
        # Tune tells of no start if the worker dies while it starts.
        status = folder.status() if (folder.path / "trial.json").exists() else {"state": RUNNING}
        if status["state"] not in BROKEN:
            status = {"state": FAILED, "reason": "its process ended without a word: killed, out of memory, or crashed"}
        self._end(trial, folder, status["state"], status["reason"], status.get("traceback"))

    def _end(self, trial: Trial, folder: TrialFolder, state: str, reason: str, trace: str | None = None) -> None:
        started = self.started.get(trial.trial_id, time.time())
        more = {"traceback": trace} if trace else {}
        folder.write_status(state, reason, started=started, ended=time.time(), epochs=len(folder.curve()), **more)

    def _folder(self, trial: Trial) -> TrialFolder:
        return folder_of(self.run, trial.config)


def mark_interrupted(folders: Iterable[TrialFolder]) -> list[TrialFolder]:
    """Mark the trials that have not ended now that the search has, and return them: a resume goes on with them."""
    cut = [folder for folder in folders if folder.status()["state"] not in ENDED]
    for folder in cut:
        epochs = len(folder.curve())
        folder.write_status(INTERRUPTED, f"interrupted after epoch {epochs}", epochs=epochs)
    return cut


def reconcile(run: RunFolder, study: optuna.Study) -> None:
    """Make study and folders agree on which trials have ended, where a kill came between the writing of the two."""
    frozen = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    ends = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: STOPPED, TrialState.FAIL: FAILED}
    for folder in run.trials():
        state, told = folder.status()["state"], frozen[folder.number].state
        if state in ENDED and told == TrialState.RUNNING:
            study.tell(folder.number, state=TrialState.FAIL)  # only a failure is written to the folder first
        elif state not in ENDED and told in ends:
            epochs = len(folder.curve())
            folder.write_status(ends[told], f"ended after epoch {epochs}, just before the search did", epochs=epochs)


class TensorBoardEvents(tune.Callback):
    """Writes each trial's epochs as TensorBoard events into its own folder.

    Tune's own logger writes to a staging folder on the driver that is copied from time to time.
    """

    def __init__(self, run: RunFolder):
        self.run = run
        self.writers: dict[str, SummaryWriter] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Write one epoch."""
        if trial.trial_id not in self.writers:
            path = folder_of(self.run, trial.config).path
            self.writers[trial.trial_id] = SummaryWriter(str(path), flush_secs=5)
        for name, value in epoch_values(result).items():
            self.writers[trial.trial_id].add_scalar(name, value, result["epoch"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the file."""
        self._close(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the file."""
        self._close(trial.trial_id)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close the files of interrupted trials."""
        for trial_id in list(self.writers):
            self._close(trial_id)

    def _close(self, trial_id: str) -> None:
        with contextlib.suppress(KeyError):
            self.writers.pop(trial_id).close()


def epoch_values(result: dict[str, Any]) -> dict[str, float]:
    """Return the finite figures of an epoch under TensorBoard names: losses, val_miou, per-class IoU, speed."""
    groups = {"train_loss": "loss", "val_loss": "loss", "val_miou": "miou", "val_miou_full": "miou"}
    names = {name: f"{group}/{name}" for name, group in groups.items()}
    names |= {name: f"class_iou/{name.removeprefix('iou_')}" for name in result if name.startswith("iou_")}
    names |= {name: f"run/{name}" for name in ("lr", "images_per_s", "train_s", "val_s", "peak_memory_mb")}
    return {shown: result[name] for name, shown in names.items() if name in result and math.isfinite(result[name])}
