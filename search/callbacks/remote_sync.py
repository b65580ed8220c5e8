"""A run folder on storage without a path: workers send what they write, the driver fetches that and sends its own."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from search.driver.lifecycle import tell
from search.worker.lease import OWNER
from search.worker.trial_runner import folder_of
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


class Fetch(tune.Callback):
    """Brings what a worker has written of a trial, before the other callbacks read it: the first of them."""

    def __init__(self, run: RunFolder, remote: Remote, console: Console):
        self.run, self.remote, self.console = run, remote, console

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshot nothing: it is never read, and a terminal cannot be pickled."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Bring the curve."""
        self._bring(trial, ("curve.csv",))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Bring all that is read of a trial that ended."""
        self._bring(trial, FROM_WORKERS)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Bring all that is read of a trial that ended."""
        self._bring(trial, FROM_WORKERS)

    def _bring(self, trial: Trial, names: tuple[str, ...]) -> None:
        folder = folder_of(self.run, trial.config)
        patiently(lambda: (self.remote / within(self.run, folder)).pull(folder.path, names), self.console)


class Send(tune.Callback):
    """Sends what the driver has written, after the other callbacks: the last of them."""

    def __init__(self, run: RunFolder, remote: Remote):
        self.run, self.remote = run, remote
        self.journal_sent = 0.0

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's record was written."""
        self._send(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """The journal has grown."""
        self.send_journal()

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial may have been given up, which its next worker must know."""
        self._send(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's record was written."""
        self._send(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's record was written."""
        self._send(trial)

    def send_journal(self, now: bool = False) -> None:
        """Send the study's journal, if it was not sent a moment ago."""
        if now or time.monotonic() - self.journal_sent > JOURNAL_S:
            with contextlib.suppress(OSError):
                self.remote.push(self.run.path, (self.run.study.name,))
                self.journal_sent = time.monotonic()

    def _send(self, trial: Trial) -> None:
        folder = folder_of(self.run, trial.config)
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
    told = False
    while True:
        try:
            return action()
        except OSError as error:
            if not told:
                tell(console, f"the storage does not answer; trying on: {str(error).splitlines()[0]}", "bold red")
            told = True
            time.sleep(PATIENCE_S)


def send_records(run: RunFolder, console: Console) -> None:
    """Send all that the driver writes, if the run is at a URI: records of the run and of every trial."""
    if run.uri:
        remote = Remote(run.uri)
        patiently(lambda: _send_records(run, remote), console)


def _send_records(run: RunFolder, remote: Remote) -> None:
    names = [path.name for path in run.path.glob("*.*")
             if path.is_file() and not path.name.startswith(".") and path != run.stop_request]  # fmt: skip
    remote.push(run.path, names)
    for trial in run.trials():
        for folder in (trial, *trial.further_folds()):
            (remote / within(run, folder)).push(folder.path, ("trial.json", "curve.csv"))


def bring_scores(run: RunFolder, folders: Iterable[TrialFolder], console: Console) -> None:
    """Bring the confusion matrices of trainings that have ended, if the run is at a URI.

    There are storages that list nothing for a moment after a write, so what is not there is asked for again.
    """
    names = [f"{within(run, each)}/confusion.npz" for each in folders] if run.uri else []
    for _ in range(LISTED_S):
        if all((run.path / name).exists() for name in names):
            return
        patiently(lambda: Remote(str(run.uri)).pull(run.path, names), console)
        if not all((run.path / name).exists() for name in names):
            time.sleep(1)


class WorkerCopy:
    """A trial's folder on the node that trains it."""

    def __init__(self, run: RunFolder, folder: TrialFolder, uri: str):
        self.folder, self.run_remote = folder, Remote(uri)
        self.run, self.remote = run, Remote(uri) / within(run, folder)

    def bring(self) -> None:
        """Bring the folds and all there is of the trial; another node may have trained it before."""
        self.run_remote.pull(self.run.path, (self.run.folds.name, "search.json"))
        self.folder.path.mkdir(parents=True, exist_ok=True)
        there = set(self.remote.files())
        for path in self.folder.states:
            if path.name not in there:
                path.unlink(missing_ok=True)  # of an attempt that went on elsewhere
        self.remote.pull(self.folder.path)

    def take(self) -> None:
        """Tell other workers that the trial is this one's."""
        self.remote.push(self.folder.path, (OWNER,))

    def owned(self) -> bool:
        """Tell whether the trial still is this worker's."""
        with contextlib.suppress(FileNotFoundError):
            return self.remote.read(OWNER) == (self.folder.path / OWNER).read_bytes()
        return False

    def send(self) -> None:
        """Send what an epoch has changed."""
        mine = [path.name for path in self.folder.path.iterdir() if path.is_file() and path.name != "trial.json"
                and not path.name.startswith((".", "previous.", "events."))]  # fmt: skip
        self.remote.push(self.folder.path, mine)
        if not self.folder.part_state.exists():
            self.remote.delete(self.folder.part_state.name)

    def stop_requested(self) -> bool:
        """Tell whether the search is asked to stop."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return json.loads(self.run_remote.read(self.run.stop_request.name))["asked"] is not None
        return False


def within(run: RunFolder, folder: TrialFolder) -> str:
    """Return a trial's folder as it is called inside the run."""
    return str(folder.path.relative_to(run.path))
