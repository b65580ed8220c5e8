"""A run folder on storage without a path: workers send what they write, the driver fetches that and sends its own."""

import contextlib
import time
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from search.heartbeat import driver_file
from search.ownership import OWNER
from search.trial import folder_of
from trainable.artifacts import RunFolder, TrialFolder
from trainable.remote import Remote

FROM_WORKERS = ("curve.csv", "config.json", "applied.json", "notes.json")
"""What the driver reads of a trial; weights and the like stay where they are."""

JOURNAL_S = 30.0
"""Seconds between sendings of the study's journal, which grows with every epoch; trial folders can replace its end."""


class Fetch(tune.Callback):
    """Brings what a worker has written of a trial, before the other callbacks read it: the first of them."""

    def __init__(self, run: RunFolder, remote: Remote):
        self.run, self.remote = run, remote

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
        (self.remote / within(self.run, folder)).pull(folder.path, names)


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
            self.remote.push(self.run.path, (self.run.study.name,))
            self.journal_sent = time.monotonic()

    def _send(self, trial: Trial) -> None:
        folder = folder_of(self.run, trial.config)
        names = ["trial.json", *(path.name for path in folder.path.glob("events.*"))]
        (self.remote / within(self.run, folder)).push(folder.path, names)
        self.send_journal()


def synced(run: RunFolder, callbacks: list[tune.Callback]) -> list[tune.Callback]:
    """Return the callbacks of a search as its storage needs them."""
    if not run.uri:
        return callbacks
    remote = Remote(run.uri)
    return [Fetch(run, remote), *callbacks, Send(run, remote)]


class Beat:
    """What the heartbeat does besides: sends itself, and brings the wish to stop."""

    def __init__(self, run: RunFolder, remote: Remote):
        self.run, self.remote = run, remote

    def __call__(self) -> None:
        """Send the heartbeat, fetch a stop request; an outage is sat out, the next beat tries again."""
        with contextlib.suppress(OSError):
            self.remote.push(self.run.path, (driver_file(self.run).name,))
            self.remote.pull(self.run.path, (self.run.stop_request.name,))


def send_records(run: RunFolder, remote: Remote) -> None:
    """Send all that the driver writes: records of the run and of every trial."""
    names = [path.name for path in run.path.glob("*.*") if path.is_file() and not path.name.startswith(".")]
    remote.push(run.path, names)
    for trial in run.trials():
        for folder in (trial, *trial.further_folds()):
            (remote / within(run, folder)).push(folder.path, ("trial.json", "curve.csv"))


def bring_records(run: RunFolder, remote: Remote) -> None:
    """Bring all that a driver reads when it goes on: no weights, no states."""
    remote.pull(run.path, leave=(".safetensors", ".parquet", ".npz", OWNER))


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
        return self.run_remote.exists(self.run.stop_request.name)


def within(run: RunFolder, folder: TrialFolder) -> str:
    """Return a trial's folder as it is called inside the run."""
    return str(folder.path.relative_to(run.path))
