"""Shows a running search: one live table on a terminal, one line per event elsewhere."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search.run_state.leaderboard import show_params
from search.run_state.tables import fitted
from search.run_state.time_left import epochs_to_come
from search.worker.messages import Epoch, Placed, Report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.classes import METRIC
from trainable.counts import counted
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, ENDED, FAILED, FINISHED, INTERRUPTED, PAUSED, RUNNING, STOPPED

QUIET_S, TELL_S = 60.0, 15.0
"""Where there is no live table: after so many seconds without a line one tells how it stands; a better best is told at
once where nothing was for so long, else with the next line."""

SHOWN = 4
"""Running trials on a line of text."""

GONE = "its process is gone"
"""What is known of a trial that said nothing before."""

COLOURS = {
    RUNNING: "cyan",
    FINISHED: "green",
    STOPPED: "yellow",
    PAUSED: "yellow",
    **dict.fromkeys((*BROKEN, INTERRUPTED), "red"),
}


@dataclass
class TrialView:
    """What is shown of one trial."""

    params: dict[str, Any]
    state: str = RUNNING
    epoch: int = 0
    value: float | None = None
    best: float | None = None
    reason: str = ""

    def observe(self, epoch: int, value: float) -> None:
        """Take in one epoch."""
        self.epoch, self.value = epoch, value
        self.best = value if self.best is None else max(self.best, value)


@dataclass
class Progress(TrialCallback):
    """The state of the search as Tune's callbacks tell it; comes after `RecordStates` in their order."""

    run: RunFolder
    trials: int
    epochs: int
    console: Console
    further: bool = False  # the trials are further folds of finalists: their figures are not compared
    expected: float = 0.0  # epochs of the whole search, where forecasts decide how many each trial gets
    seconds_left: Callable[[], float] = lambda: math.inf  # of a budget
    views: dict[str, TrialView] = field(default_factory=dict)  # by label
    lost: dict[str, str] = field(default_factory=dict)  # why a trial could not go on, by Tune's name for it
    epochs_seen: int = 0
    now: Callable[[], float] = time.monotonic
    started: float = 0.0
    told: float = 0.0  # when the last line was
    measured: str = ""  # what is measured before the first trial, while it is
    told_best: float | None = None

    def __post_init__(self) -> None:
        self.started = self.told = self.now()
        self.over = threading.Event()
        for folder in [] if self.further else self.run.trials():  # those of before a resume
            view = self.views[str(folder.number)] = TrialView(folder.params(), folder.status().state)
            for row in folder.curve():
                view.observe(int(row["epoch"]), row[METRIC])
        self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live.start()
        else:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.live.stop()

    def _watch(self) -> None:
        # A thread of its own: the driver may wait for storage, or for a forecast, longer than a minute.
        while not self.over.wait(1.0):
            self.tick()

    def tick(self) -> None:
        """Tell how the search stands, where nothing was told for a minute, or a better best is still to be told."""
        quiet = self.now() - self.told
        if quiet >= QUIET_S or (quiet >= TELL_S and self._better()):
            self.tell(self.line())

    @contextmanager
    def measuring(self, what: str) -> Iterator[None]:
        """Say what is measured before the first trial, for as long as this is entered."""
        self.measured = what
        self.tell(what)
        try:
            yield
        finally:
            self.measured = ""

    def waiting(self) -> str:
        """Return what is waited for until the first epoch of this session ends; empty from then on."""
        if self.epochs_seen:
            return ""
        if self.measured:
            return self.measured
        if self.count(RUNNING):
            return "the first trials load PyTorch and the photos, and train their first epoch"
        return "the processes of the first trials start"

    def line(self) -> str:
        """Return how the search stands, on one line: epochs, the best, how many have ended and the time left."""
        running = [
            f"trial {name} epoch {view.epoch}/{self.epochs}"
            for name, view in list(self.views.items())
            if view.state == RUNNING
        ]
        summary = ", ".join(running[:SHOWN]) + (f" and {len(running) - SHOWN} more" if len(running) > SHOWN else "")
        parts, leader = [summary or "no trial is running yet"], self.best()
        if waiting := self.waiting():
            parts.append(f"no epoch has ended yet: {waiting}")
        if leader is not None and not self.further:
            best = self.views[leader].best
            parts.append(
                f"best {METRIC} {best:.4f} by trial {leader}" + (", better than before" if self._better() else "")
            )
            self.told_best = best
        parts.append(f"{self.count(*ENDED)} of {self.trials} ended, {self.eta()} left")
        return "; ".join(parts)

    def _better(self) -> bool:
        leader = None if self.further else self.best()
        best = None if leader is None else self.views[leader].best
        return best is not None and self.told_best is not None and best > self.told_best

    def trial_started(self, trial: Trial) -> None:
        """A trial got a worker."""
        folder, view = assigned(trial).folder(self.run), self._view(trial)
        if folder.status().state in ENDED or folder.waits:
            return  # given up: Tune does not know yet
        view.state = RUNNING
        for row in folder.curve():
            view.observe(int(row["epoch"]), row[METRIC])
        again = f" goes on after epoch {view.epoch}" if assigned(trial).resume else " started"
        config = "" if self.further else f": {show_params(view.params)}"
        self.tell(f"trial {assigned(trial).label()}{again}{config}")

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """A trial ended an epoch, or tells why it cannot go on here."""
        if isinstance(report, Placed):
            return
        if not isinstance(report, Epoch):
            self.lost[trial.trial_id] = report.reason or GONE
            return
        leader = self.best()
        self.epochs_seen += report.number > self._view(trial).epoch  # one that goes on tells its last once more
        self._view(trial).observe(report.number, report.value)
        if self.best() != leader and not self.further:
            name, value = assigned(trial).label(), f"{METRIC} {report.value:.4f} after epoch {report.number}"
            self.told_best = report.value
            self.tell(f"trial {name} leads: {value}", "bold")

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """A trial had its budget or was stopped."""
        self._ended(trial)

    def trial_recovers(self, trial: Trial) -> None:
        """A trial is started again: its process is gone, or it could not go on there."""
        folder, why = assigned(trial).folder(self.run), self.lost.pop(trial.trial_id, GONE)
        if folder.status().state not in ENDED and not folder.waits:
            self.tell(f"trial {assigned(trial).label()}: {why}; it is tried again from its last epoch", "yellow")

    def _view(self, trial: Trial) -> TrialView:
        training = assigned(trial)
        return self.views.setdefault(training.label(), TrialView(self.run.trial(training.number).params()))

    def _ended(self, trial: Trial) -> None:
        status = assigned(trial).folder(self.run).status()
        view = self._view(trial)
        view.state, view.reason = status.state, status.reason
        best = "" if view.best is None else f", best {METRIC} {view.best:.4f}"
        paused = f", {self.count(PAUSED)} paused" if self.count(PAUSED) else ""
        totals = f"{self.count(*ENDED)} of {self.trials} ended{paused}, {self.eta()} left"
        self.tell(f"trial {assigned(trial).label()} {view.state}: {view.reason}{best} ({totals})", COLOURS[view.state])

    def tell(self, text: str, style: str = "") -> None:
        """Print one line with the time; on a terminal, where the table tells the rest, only of failures."""
        if not self.console.is_terminal or style == COLOURS[FAILED]:
            self.told = self.now()
            self.console.print(f"{time.strftime('%H:%M:%S')} {text}", style=style, highlight=False, soft_wrap=True)

    def best(self) -> str | None:
        """Return the label of the trial with the best value so far."""
        scored = {number: view.best for number, view in list(self.views.items()) if view.best is not None}
        return max(scored, key=lambda number: scored[number] or 0) if scored else None

    def count(self, *states: str) -> int:
        """Return how many trials are in one of the states."""
        return sum(view.state in states for view in list(self.views.values()))

    def rate(self) -> float:
        """Return epochs per second since the search (or its resume) began."""
        return self.epochs_seen / max(self.now() - self.started, 1e-9)

    def eta(self) -> str:
        """Return the time left: until the budget ends, or until the epochs to come are trained."""
        if not self.epochs_seen:
            return "?"
        ended, paused, running = (
            [view.epoch for view in list(self.views.values()) if view.state in states]
            for states in ((FINISHED, STOPPED), (PAUSED,), (RUNNING,))
        )
        to_begin = max(self.trials - len(self.views), 0)
        epochs = epochs_to_come(to_begin, self.epochs, ended, paused, running, self.expected)
        return show_time(max(min(epochs / self.rate(), self.seconds_left()), 0.0))

    def table(self) -> Group:
        """Return the live view: a line of totals, the best config, and the running trials and the last that ended."""
        head = Text(
            f"{self.count(RUNNING)} running  {self.count(PAUSED)} paused  {self.count(FINISHED)} finished  "
            f"{self.count(STOPPED)} stopped  "
            f"{self.count(*BROKEN)} failed  of {counted(self.trials, 'trial')}   {self.rate():.2f} epochs/s   "
            f"{show_time(self.now() - self.started)} so far, {self.eta()} left"
        )
        leader = self.best()
        lines = [head]
        if waiting := self.waiting():
            lines.append(Text(f"no epoch has ended yet: {waiting}"))
        if leader is not None and not self.further:
            view = self.views[leader]
            best = f"best {METRIC} {view.best:.4f} by trial {leader}: {show_params(view.params)}"
            lines.append(Text(best, "bold green"))
        rows: list[tuple[tuple[str | Text, ...], str]] = []
        running = [name for name, view in self.views.items() if view.state == RUNNING]
        rest = [name for name in self.views if name not in running]
        for name in rest[-8:] + running:
            view = self.views[name]
            values = (f"{score:.4f}" if score is not None else "" for score in (view.value, view.best))
            state = Text(view.state, style=COLOURS.get(view.state, ""))
            rows.append(((name, state, f"{view.epoch}/{self.epochs}", *values, show_params(view.params)), ""))
        table = Table(box=None, pad_edge=False, header_style="dim")
        titles, gives_way = ("trial", "state", "epoch", METRIC, "best", "config"), (METRIC, "epoch", "state")
        fitted(table, titles, rows, self.console, gives_way, left=("state",))
        return Group(*lines, table)


def show_time(seconds: float) -> str:
    """Return seconds as 45s, 12m30s or 3h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02d}m"
