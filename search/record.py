"""Tune callbacks that write what happens to each trial into the run folder."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from search.ownership import release
from search.thawing import Thawing
from search.trial import ENDED_BROKEN, HALTED, folder_of
from trainable.artifacts import (
    ENDED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    OOM,
    PAUSED,
    RUNNING,
    STOPPED,
    RunFolder,
    TrialFolder,
)

LOST = ("ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "The actor is dead", "RayActorError")
"""What Ray's errors say where a process has gone without a word of its own."""

MAX_FAILURES = 2
"""How often a trial may lose its process, or fail by the machine's fault, and still be tried again."""


class RecordStates(tune.Callback):
    """Keeps every trial's `trial.json` true. The driver alone writes it."""

    def __init__(self, run: RunFolder, epochs: int, thawing: Thawing | None = None):
        self.run, self.epochs, self.thawing = run, epochs, thawing
        self.started: dict[str, float] = {}
        self.running: set[str] = set()
        self.halted: set[str] = set()
        self.failures: Counter[str] = Counter()  # in a row, without an epoch between them
        self.epochs_seen: Counter[str] = Counter()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has a worker."""
        folder = self._folder(trial)
        self.running.add(trial.trial_id)
        if self.failures[trial.trial_id] <= MAX_FAILURES:
            self.started[trial.trial_id] = time.time()
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_status(RUNNING, started=time.time())

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial ended an epoch, or was halted."""
        if HALTED in result:
            self.halted.add(trial.trial_id)
        elif result.get("epoch", 0) > self.epochs_seen[trial.trial_id]:
            self.epochs_seen[trial.trial_id] = result["epoch"]
            self.failures[trial.trial_id] = 0  # it gets on

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial had its budget, was paused or stopped, or ended by an error that would come again."""
        folder, result = self._folder(trial), trial.last_result or {}
        self.running.discard(trial.trial_id)
        if self.failures[trial.trial_id] > MAX_FAILURES:
            return release(folder)  # given up, and recorded as such
        files = result.get("files", {})
        if ENDED_BROKEN in result:
            state, reason = result[ENDED_BROKEN], result["reason"]
            return self._end(trial, folder, state, reason, files=files, traceback=result["traceback"])
        done = len(folder.curve())
        if done >= self.epochs:
            return self._end(trial, folder, FINISHED, f"all {self.epochs} epochs", files=files)
        if self.thawing:
            return self._end(trial, folder, PAUSED, self.thawing.why(trial.config["number"]), files=files)
        return self._end(trial, folder, STOPPED, f"stopped by ASHA after epoch {done} of {self.epochs}", files=files)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process is gone; Tune starts it once more, and the worker looks here whether it is to train."""
        self.running.discard(trial.trial_id)
        if trial.trial_id in self.halted:
            self.halted.discard(trial.trial_id)
            return
        self.failures[trial.trial_id] += 1
        if self.failures[trial.trial_id] > MAX_FAILURES:
            state, reason = why_lost(trial)
            self._end(trial, self._folder(trial), state, f"{reason}, {self.failures[trial.trial_id]} times in a row")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial could not even be started."""
        self.running.discard(trial.trial_id)
        self._end(trial, self._folder(trial), *why_lost(trial))

    def _end(self, trial: Trial, folder: TrialFolder, state: str, reason: str, **more: Any) -> None:
        started = self.started.get(trial.trial_id, time.time())
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_status(state, reason, started=started, ended=time.time(), epochs=len(folder.curve()), **more)
        for path in (folder.previous_state, folder.part_state):
            path.unlink(missing_ok=True)
        release(folder)

    def _folder(self, trial: Trial) -> TrialFolder:
        return folder_of(self.run, trial.config)


def why_lost(trial: Trial) -> tuple[str, str]:
    """Return the state and the reason of a trial that Tune has lost, by the error that it kept."""
    text = ""
    with contextlib.suppress(OSError, TypeError):  # Tune keeps none where the actor was never made
        text = Path(trial.error_file or "").read_text(errors="replace")
    if "OutOfMemoryError" in text or "due to the node running low on memory" in text:
        return OOM, "killed by Ray's memory monitor: the node ran out of memory"
    if not text or any(name in text for name in LOST):
        return FAILED, "its process ended without a word: killed, out of memory, or crashed, or its node is gone"
    return FAILED, text.strip().splitlines()[-1]


def mark_interrupted(folders: Iterable[TrialFolder]) -> list[TrialFolder]:
    """Mark the trials that were cut off by the search's end, and return them: a resume goes on with them."""
    cut = [folder for folder in folders if folder.status()["state"] not in (PAUSED, *ENDED)]
    for folder in cut:
        epochs = len(folder.curve())
        folder.write_status(INTERRUPTED, f"interrupted after epoch {epochs}", epochs=epochs)
    return cut
