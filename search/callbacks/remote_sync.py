"""A run folder on storage without a path: workers send what they write, the driver fetches that and sends its own."""

import contextlib
import time
from collections.abc import Callable, Iterable

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from search.run_state.console import tell
from search.worker.messages import Report
from search.worker.remote_trial import within
from search.worker.trial_callback import TrialCallback, assigned
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.remote import Remote

FROM_WORKERS = ("curve.csv", "config.json", "applied.json", "notes.json")
"""What the driver reads of a trial; weights and the like stay where they are."""

JOURNAL_S = 30.0
"""Seconds between sendings of the study's journal, which grows with every epoch; trial folders can replace its end."""


LISTED_S = 20
"""Seconds for which files that must be there are looked for."""

PATIENCE_S = 5.0
"""Seconds between tries while the storage does not answer."""


class Fetch(TrialCallback):
    """Brings what a worker has written of a trial, before the other callbacks read it: the first of them."""

    def __init__(self, run: RunFolder, remote: Remote, console: Console):
        self.run, self.remote, self.console = run, remote, console

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Bring the curve."""
        self._bring(trial, ("curve.csv",))

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """Bring all that is read of a trial that ended."""
        self._bring(trial, FROM_WORKERS)

    def _bring(self, trial: Trial, names: tuple[str, ...]) -> None:
        folder = assigned(trial).folder(self.run)
        patiently(lambda: (self.remote / within(self.run, folder)).pull(folder.path, names), self.console)


class Send(TrialCallback):
    """Sends what the driver has written, after the other callbacks: the last of them."""

    def __init__(self, run: RunFolder, remote: Remote):
        self.run, self.remote = run, remote
        self.journal_sent = 0.0

    def trial_started(self, trial: Trial) -> None:
        """The trial's record was written."""
        self._send(trial)

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """The journal has grown."""
        self.send_journal()

    def trial_recovers(self, trial: Trial) -> None:
        """The trial may have been given up, which its next worker must know."""
        self._send(trial)

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """The trial's record was written."""
        self._send(trial)

    def send_journal(self, now: bool = False) -> None:
        """Send the study's journal, if it was not sent a moment ago."""
        if now or time.monotonic() - self.journal_sent > JOURNAL_S:
            with contextlib.suppress(OSError):
                self.remote.push(self.run.path, (self.run.study.name,))
                self.journal_sent = time.monotonic()

    def _send(self, trial: Trial) -> None:
        folder = assigned(trial).folder(self.run)
        names = ["trial.json", *(path.name for path in folder.path.glob("events.*"))]
        with contextlib.suppress(OSError):  # sent with the next, or at the end
            (self.remote / within(self.run, folder)).push(folder.path, names)
        self.send_journal()


def synced(run: RunFolder, callbacks: list[tune.Callback], console: Console) -> list[tune.Callback]:
    """Return the callbacks of a search as its storage needs them."""
    if not run.uri:
        return callbacks
    remote = Remote(run.uri)
    return [Fetch(run, remote, console), *callbacks, Send(run, remote)]


def patiently(action: Callable[[], None], console: Console) -> None:
    """Do what needs the storage, again and again while it does not answer; says so once."""
    announced = False
    while True:
        try:
            return action()
        except OSError as error:
            if not announced:
                tell(console, f"the storage does not answer; trying on: {str(error).splitlines()[0]}", "bold red")
            announced = True
            time.sleep(PATIENCE_S)


def send_records(run: RunFolder, console: Console) -> None:
    """Send all that the driver writes, if the run is at a URI: records of the run and of every trial."""
    if run.uri:
        remote = Remote(run.uri)
        patiently(lambda: _send_records(run, remote), console)


def _send_records(run: RunFolder, remote: Remote) -> None:
    names = [
        path.name
        for path in run.path.glob("*.*")
        if path.is_file() and not path.name.startswith(".") and path != run.stop_request
    ]
    remote.push(run.path, names)
    for trial in run.trials():
        for folder in (trial, *trial.further_folds()):
            (remote / within(run, folder)).push(folder.path, ("trial.json", "curve.csv"))


def bring_scores(run: RunFolder, folders: Iterable[TrialFolder], console: Console) -> None:
    """Bring the confusion matrices of trainings that have ended, if the run is at a URI.

    There are storages that list nothing for a moment after a write, so what is not there is asked for again.
    """
    names = [f"{within(run, folder)}/confusion.npz" for folder in folders] if run.uri else []
    for _ in range(LISTED_S):
        if all((run.path / name).exists() for name in names):
            return
        patiently(lambda: Remote(str(run.uri)).pull(run.path, names), console)
        if not all((run.path / name).exists() for name in names):
            time.sleep(1)
