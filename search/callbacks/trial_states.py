"""Tune callbacks that write what happens to each trial into the run folder."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from search.tuning.freeze_thaw import Thawing
from search.worker.lease import release
from search.worker.messages import Broken, Epoch, Excused, Halted, Report, read_report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.counts import all_of
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import ENDED, FAILED, FINISHED, INTERRUPTED, OOM, PAUSED, RUNNING, STOPPED

LOST = ("ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "The actor is dead", "RayActorError")
"""What Ray's errors say where a process has gone without a word of its own."""

MAX_FAILURES = 2
"""How often a trial may lose its process, or fail by the machine's fault, and still be tried again."""


STUCK_TRIALS = 3
"""So many trials in a row that cannot be trained, by no fault of theirs, end the search: the next ones could not."""


class RecordStates(TrialCallback):
    """Keeps every trial's `trial.json` true. The driver alone writes it."""

    def __init__(self, run: RunFolder, epochs: int, thawing: Thawing | None = None):
        self.run, self.epochs, self.thawing = run, epochs, thawing
        self.started: dict[str, float] = {}
        self.running: set[str] = set()
        self.halted: set[str] = set()
        self.failures: Counter[str] = Counter()  # in a row, without an epoch between them
        self.epochs_seen: Counter[str] = Counter()
        self.excuses: dict[str, str] = {}  # what of the machine a trial has failed by, since its last epoch
        self.waiting: dict[str, str] = {}  # those of trials that were put aside for it
        self.in_row = 0  # trials put aside without an epoch of any between them
        self.stuck: Callable[[], None] = lambda: None
        """Called when no more trials should be tried."""

    def trial_started(self, trial: Trial) -> None:
        """The trial has a worker."""
        folder = self._folder(trial)
        self.running.add(trial.trial_id)
        if self.failures[trial.trial_id] <= MAX_FAILURES:
            self.started[trial.trial_id] = time.time()
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_status(RUNNING, started=time.time())

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """The trial ended an epoch, or was halted."""
        if isinstance(report, Halted):
            self.halted.add(trial.trial_id)
        elif isinstance(report, Excused):
            self.excuses[trial.trial_id] = report.reason
        elif isinstance(report, Epoch) and report.number > self.epochs_seen[trial.trial_id]:
            self.epochs_seen[trial.trial_id] = report.number
            self.failures[trial.trial_id] = self.in_row = 0  # it gets on
            self.excuses.pop(trial.trial_id, None)

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """The trial had its budget, was paused or stopped, failed, or could not even be started."""
        folder, report = self._folder(trial), read_report(trial.last_result)
        self.running.discard(trial.trial_id)
        if failed:
            return self._end(trial, folder, *why_lost(trial))
        if self.failures[trial.trial_id] > MAX_FAILURES:
            return release(folder)  # given up, and recorded as such
        files = report.files if isinstance(report, Epoch | Broken) else {}
        if isinstance(report, Broken):
            return self._end(trial, folder, report.state, report.reason, files=files, traceback=report.traceback)
        done = len(folder.curve())
        if done >= self.epochs:
            return self._end(trial, folder, FINISHED, all_of(self.epochs, "epoch"), files=files)
        if self.thawing:
            return self._end(trial, folder, PAUSED, self.thawing.why(assigned(trial).number), files=files)
        return self._end(trial, folder, STOPPED, f"stopped by ASHA after epoch {done} of {self.epochs}", files=files)

    def trial_recovers(self, trial: Trial) -> None:
        """The trial's process is gone; Tune starts it once more, and the worker looks here whether it is to train."""
        self.running.discard(trial.trial_id)
        if trial.trial_id in self.halted:
            self.halted.discard(trial.trial_id)
            return
        self.failures[trial.trial_id] += 1
        if self.failures[trial.trial_id] > MAX_FAILURES and trial.trial_id in self.excuses:
            self._put_aside(trial)
        elif self.failures[trial.trial_id] > MAX_FAILURES:
            state, reason = why_lost(trial)
            self._end(trial, self._folder(trial), state, f"{reason}, {self.failures[trial.trial_id]} times in a row")

    def _put_aside(self, trial: Trial) -> None:
        """Leave a trial to a resume: it is not its config that a file is missing, or that storage does not answer."""
        folder, excuse = self._folder(trial), self.excuses[trial.trial_id]
        self.waiting[trial.trial_id] = excuse
        self.in_row += 1
        reason = f"{excuse}, {MAX_FAILURES + 1} times in a row"
        folder.write_status(INTERRUPTED, reason, epochs=len(folder.curve()), waits=True)
        release(folder)
        if self.in_row >= STUCK_TRIALS:
            self.stuck()

    def _end(self, trial: Trial, folder: TrialFolder, state: str, reason: str, **details: Any) -> None:
        started = self.started.get(trial.trial_id, time.time())
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_status(state, reason, started=started, ended=time.time(), epochs=len(folder.curve()), **details)
        for path in (folder.previous_state, folder.part_state):
            path.unlink(missing_ok=True)
        release(folder)

    def _folder(self, trial: Trial) -> TrialFolder:
        return assigned(trial).folder(self.run)


def why_lost(trial: Trial) -> tuple[str, str]:
    """Return the state and the reason of a trial that Tune has lost, by the error that it kept."""
    error_text = ""
    with contextlib.suppress(OSError, TypeError):  # Tune keeps none where the actor was never made
        error_text = Path(trial.error_file or "").read_text(errors="replace")
    if "OutOfMemoryError" in error_text or "due to the node running low on memory" in error_text:
        return OOM, "killed by Ray's memory monitor: the node ran out of memory"
    if not error_text or any(name in error_text for name in LOST):
        return FAILED, "its process ended without a word: killed, out of memory, or crashed, or its node is gone"
    return FAILED, error_text.strip().splitlines()[-1]


def mark_interrupted(folders: Iterable[TrialFolder]) -> list[TrialFolder]:
    """Mark the trials that were cut off by the search's end, and return them: a resume goes on with them.

    Where even that cannot be written, the resume sees it by itself.
    """
    cut = [folder for folder in folders if folder.status().state not in (PAUSED, *ENDED)]
    for folder in cut:
        status, epochs = folder.status(), len(folder.curve())
        if status.state != INTERRUPTED:
            with contextlib.suppress(OSError):
                folder.write_status(INTERRUPTED, f"interrupted after epoch {epochs}", epochs=epochs)
    return cut


def saved(folders: Iterable[TrialFolder]) -> str:
    """Return what is saved of trainings that have not ended, to be told with how many have."""
    going_on = [folder for folder in folders if folder.status().state not in ENDED]
    parts = sum(folder.part_state.exists() for folder in going_on)
    whole = sum(bool(folder.curve()) and not folder.part_state.exists() for folder in going_on)
    none = len(going_on) - parts - whole
    phrases = [f"{parts} saved in the midst of an epoch"] if parts else []
    phrases += [f"{whole} saved after an epoch"] if whole else []
    phrases += [f"{none} begun without an epoch"] if none else []
    return ", ".join(phrases)
