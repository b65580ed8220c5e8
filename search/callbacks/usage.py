"""Where the hours of a search go: `hours.json` in its run folder, and what is told of it."""

import contextlib
import time
from collections import defaultdict

from ray.tune.experiment import Trial
from rich.console import Console

from search.run_state.past_usage import Held, Usage, read_usage
from search.settings.allocation import Resources
from search.settings.budget import size, unit
from search.worker.messages import Epoch, Report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import BROKEN, FINISHED, OOM, PAUSED, STOPPED

WRITE_S = 10.0
"""Between two writes of the file: so much of a session a kill may lose."""

KINDS = (
    "finished",
    "stopped early",
    "paused",
    "confirmed",
    "interrupted",
    "failed",
    "out of memory",
    "overhead",
    "idle",
)


class Hours(TrialCallback):
    """Counts how long trials hold their share of the machine."""

    def __init__(self, run: RunFolder, share: Resources):
        self.run, self.share = run, share
        self.began, self.written = time.time(), 0.0
        self.earlier = read_usage(run)
        self.held: dict[str, float] = defaultdict(float, self.earlier.held)  # seconds, by trial
        self.shares = dict(self.earlier.shares)  # of a GPU, by trial, where they are packed
        self.before = sum(self.held.values())
        self.since: dict[str, float] = {}  # by Tune's name
        self.names: dict[str, str] = {}  # of trials, by Tune's
        self.last: dict[str, int] = {}  # epoch of each trial in this session
        self.epochs = 0  # that have ended in it

    def trial_started(self, trial: Trial) -> None:
        """A trial takes its share."""
        self.since.setdefault(trial.trial_id, time.time())
        name = self.names[trial.trial_id] = key(assigned(trial).folder(self.run))
        if (gpus := assigned(trial).gpus) is not None:
            self.shares[name] = gpus
        self._write()

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """A trial ended an epoch, or tells something else."""
        if isinstance(report, Epoch):
            name, epoch = key(assigned(trial).folder(self.run)), report.number
            last_epoch = self.last.get(name, epoch - 1 if not assigned(trial).resume else epoch)
            self.epochs += epoch > last_epoch  # one that goes on tells its last epoch once more
            self.last[name] = max(epoch, last_epoch)
        self._write()

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """A trial gives its share back."""
        self._end(trial)

    def trial_recovers(self, trial: Trial) -> None:
        """A trial has lost its process."""
        self._end(trial)

    def per_epoch(self) -> float | None:
        """Return the seconds that an epoch has taken a worker in this session, None before the first has ended."""
        now = time.time()
        held = sum(self.held.values()) - self.before + sum(now - start for start in self.since.values())
        return held / self.epochs if self.epochs else None

    def spent(self) -> float:
        """Return the hours of the run, earlier sessions and idle time included."""
        return self.earlier.total() + (time.time() - self.began) * size(self.share) / 3600

    def close(self) -> None:
        """The session is over: what still runs has been asked to save."""
        for name in list(self.since):
            self._give_back(name)
        self._write(now=True)

    def _end(self, trial: Trial) -> None:
        self._give_back(trial.trial_id)
        self._write()

    def _give_back(self, name: str) -> None:
        self.held[self.names.get(name, "")] += time.time() - self.since.pop(name, time.time())

    def _write(self, now: bool = False) -> None:
        if now or time.monotonic() - self.written > WRITE_S:
            self.written = time.monotonic()
            sessions = (*self.earlier.sessions, Held(self.began, time.time(), size(self.share)))
            per_trial = self.share.gpus_per_trial or 1
            with contextlib.suppress(OSError):
                Usage(unit(self.share), per_trial, sessions, dict(self.held), self.shares).write(self.run)


def key(folder: TrialFolder) -> str:
    """Return what a trial is called in the file: its number, and of a further training of its config the folder."""
    return f"{folder.number}/{folder.path.name}" if folder.path.parent.name == "folds" else str(folder.number)


def parts(run: RunFolder) -> dict[str, float]:
    """Return the hours of a run by what they were spent on; together they are all there were.

    Overhead is what trials held their share for without training: starting, loading, saving. Idle is what no trial
    held: the start and the end of the search, and workers for which there was no trial.
    """
    usage = read_usage(run)
    share = {number: usage.shares.get(number, usage.per_trial) for number in usage.held}
    held = {number: seconds * share[number] / 3600 for number, seconds in usage.held.items()}
    spent_on = dict.fromkeys(KINDS, 0.0)
    for folder in [folder for trial in run.trials() for folder in (trial, *trial.further_folds())]:
        hours, state = held.get(key(folder), 0.0), folder.status().state
        if state in BROKEN:
            spent_on["out of memory" if state == OOM else "failed"] += hours
            continue
        seconds = sum(row.get("train_s", 0) + row.get("val_s", 0) for row in folder.curve())
        trained = min(seconds * share.get(key(folder), 0.0) / 3600, hours)
        kind = {FINISHED: "finished", STOPPED: "stopped early", PAUSED: "paused"}.get(state, "interrupted")
        if state == FINISHED and folder.path.parent.name == "folds":
            kind = "confirmed"
        spent_on[kind] += trained
        spent_on["overhead"] += hours - trained
    spent_on["idle"] = max(usage.total() - sum(spent_on.values()), 0.0)
    return spent_on


def print_hours(run: RunFolder, rate: float | None, console: Console) -> None:
    """Print where the hours went, and what they cost at a rate for each."""
    spent_on, name = parts(run), read_usage(run).unit
    spent = sum(spent_on.values())
    if not spent:
        return
    shares = ", ".join(f"{kind} {hours / spent:.0%}" for kind, hours in spent_on.items() if hours)
    cost = f" ({spent * rate:.2f} at {rate:g} an hour)" if rate else ""
    console.print(f"{spent:.2f} {name}{cost}: {shares}", highlight=False, soft_wrap=True)
