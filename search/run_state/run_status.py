"""How a run stands, by its folder alone, and how that is shown."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.ending.endings import ENDS
from search.run_state.chain_record import Chain, phase_run, read_chain
from search.run_state.driver_record import DriverRecord
from search.run_state.heartbeat import ENDED, GONE, RUNNING, driver, driver_state
from search.run_state.leaderboard import Standing, resume_command, show_params, standings
from search.run_state.past_usage import read_usage
from search.run_state.run_names import NO_RECORD
from search.run_state.tables import fitted
from search.run_state.time_left import epochs_to_come
from trainable.counts import counted, have_ended
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, FINISHED, PAUSED, STOPPED
from trainable.run_folder.trial_record import ENDED as ENDED_TRIALS
from trainable.run_folder.trial_record import RUNNING as RUNNING_TRIAL
from trainable.storage.record_checks import DAMAGE

PREPARING, NOTHING = "preparing", "nothing"
"""States of a name that a search has claimed and no run has come of yet, and of one that none has come of."""

LIVE = ("running", "stopping", PREPARING)
"""States of what a search works on."""


@dataclass
class Status:
    """How one run stands."""

    name: str
    state: str  # preparing, running, stopping, finished, interrupted, damaged, or nothing
    told: str  # the state in words
    trials: int = 0  # planned
    epochs: int = 0  # of one trial's full budget
    counts: dict[str, int] = field(default_factory=dict)  # trials by state
    best: float | None = None  # val_miou
    hours: float = 0.0  # of GPUs, or of cores where there are none
    unit: str = "core-hours"
    left_s: float | None = None
    ranking: list[Standing] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)  # trials that cannot be read
    chain: Chain | None = None  # where it is on its way to a submission
    further: dict[str, int] = field(default_factory=dict)  # trainings of finalists on further folds, by state
    phase: "Status | None" = None  # of the run beside it that trains for it now

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return sum(self.counts.get(state, 0) for state in ENDED_TRIALS)


def status_of(run: RunFolder, beat: str | None = None) -> Status:
    """Read how a run stands; what is damaged is told, not raised.

    Args:
        run: to read.
        beat: how its search is, where that has been seen already; see `search/run_state/heartbeat.py`.
    """
    if not (run.path / "search.json").exists():
        return _without_record(run, beat or driver_state(run))
    try:
        chain = read_chain(RunFolder(run.path))
        record = run.record()
        trials, epochs = record.trials, record.epochs
        damaged: list[int] = []
        ranking = standings(run, damaged)
    except DAMAGE as error:
        return Status(run.path.name, "damaged", f"cannot be read: {error}")
    last, beat = driver(run), beat or driver_state(run)
    status = Status(run.path.name, "", "", trials, epochs, ranking=ranking, damaged=damaged, chain=chain)
    for standing in ranking:
        state = standing.state if beat == RUNNING or standing.state != RUNNING_TRIAL else "interrupted"
        status.counts[state] = status.counts.get(state, 0) + 1
    status.best = max((standing.best["val_miou"] for standing in ranking if standing.best), default=None)
    gpus = last.gpus_per_trial or 0
    status.hours = sum(standing.seconds for standing in ranking) / 3600 * (gpus or 1)
    status.unit = "GPU-hours" if gpus else "core-hours"
    if (usage := read_usage(RunFolder(run.path))).sessions:
        status.unit, status.hours = usage.unit, usage.total()
        if beat == RUNNING and last.started and usage.sessions[-1].began >= last.started:  # held since it was written
            status.hours += max(time.time() - usage.sessions[-1].ended, 0) * usage.sessions[-1].size / 3600
    status.further = _further(run)
    status.left_s = _seconds_left(status, last.concurrent or 1) if beat == RUNNING else None
    status.state, status.told = _state(run, status, last, beat)
    return status


def run_beside(run: RunFolder, status: Status) -> RunFolder | None:
    """Return the run beside a chain's that its phase now trains in, if it has one; it need not be there yet."""
    if not status.chain or not status.chain.carried:
        return None
    beside = phase_run(run, status.chain.to_come[0])
    return beside if beside.path != run.path else None


def _without_record(run: RunFolder, beat: str) -> Status:
    """Return how a name stands that has no search.json: a search prepares it, has lost it, or never began it."""
    if (run.path / "trials").exists():
        return Status(run.path.name, "damaged", NO_RECORD)
    try:
        chain = read_chain(RunFolder(run.path))
    except ValueError as error:
        return Status(run.path.name, "damaged", f"cannot be read: {error}")
    last = driver(run)
    if beat != RUNNING and chain and chain.carried:
        last, beat = DriverRecord.of(chain.by), RUNNING
    if beat != RUNNING:
        return Status(run.path.name, NOTHING, "no search works on it, and no trial has begun", chain=chain)
    doing = "asked to stop while it is being prepared" if run.stop_requested() else "being prepared"
    told = f"{doing}, no trial has begun: {_where(last)}"
    return Status(run.path.name, PREPARING, told, chain=chain)


def _where(last: DriverRecord) -> str:
    """Return which process drives a run."""
    seen = "never" if last.seen is None else show_ago(time.time() - last.seen)
    return f"process {last.pid} on {last.host}, seen {seen}"


def _further(run: RunFolder) -> dict[str, int]:
    """Count the trainings of finalists on further folds, by state; those that cannot be read are left out."""
    counts: dict[str, int] = {}
    for folder in [further for trial in run.trials() for further in trial.further_folds()]:
        with suppress(OSError, *DAMAGE):
            state = folder.status().state
            counts[state] = counts.get(state, 0) + 1
    return counts


def _state(run: RunFolder, status: Status, last: DriverRecord, beat: str) -> tuple[str, str]:
    last_seen = "never" if last.seen is None else show_ago(time.time() - last.seen)
    if beat == RUNNING:
        where = _where(last)
        return ("stopping", f"saving and stopping: {where}") if run.stop_requested() else ("running", where)
    if status.chain:
        return _chain_state(run, status.chain)
    resumable = last.end in [end.name for end in ENDS if end.resumable]
    if status.ended >= status.trials:
        return "finished", f"ended {last_seen}" if last.known else "all trials have ended"
    why = last.why if resumable and last.why else "stopped"
    how = {GONE: f"its search is gone without a word, last seen {last_seen}", ENDED: f"{why}, {last_seen}"}
    return "interrupted", f"{how.get(beat, 'nobody drives it')}; {_resume(run)}"


def _chain_state(run: RunFolder, chain: Chain) -> tuple[str, str]:
    """Return how a chain stands while its search does not run."""
    if chain.done:
        return "finished", f"all phases to {chain.to} have ended"
    phase = chain.to_come[0]
    if chain.carried:
        begun = chain.phase(phase)
        return "running", f"phase {phase} on the way to {chain.to}, {show_span(begun.seconds if begun else 0)} so far"
    return "interrupted", f"in phase {phase} on the way to {chain.to}; {_resume(run)}"


def _resume(run: RunFolder) -> str:
    return f"go on with: {resume_command(run)}"


def _seconds_left(status: Status, concurrent: int) -> float | None:
    """Return the seconds left if what is to come takes as long as what was done; None: there is no telling."""
    done = sum(standing.epochs for standing in status.ranking)
    if not done or status.ended >= status.trials:
        return None
    per_epoch = sum(standing.seconds for standing in status.ranking) / done
    ended, paused, running = (
        [standing.epochs for standing in status.ranking if standing.state in states]
        for states in ((FINISHED, STOPPED), (PAUSED,), (RUNNING_TRIAL,))
    )
    epochs = epochs_to_come(max(status.trials - len(status.ranking), 0), status.epochs, ended, paused, running)
    return epochs * per_epoch / concurrent


def page(status: Status, console: Console) -> Group:
    """Return all of one run."""
    colour = {"running": "cyan", PREPARING: "cyan", "finished": "green", "damaged": "red"}.get(status.state, "yellow")
    parts: list[Any] = [Text.assemble(f"run {status.name}: ", (status.state, f"bold {colour}"), f" ({status.told})")]
    if status.state in ("damaged", PREPARING, NOTHING):
        return Group(*parts)
    counts = _by_state(status.counts)
    used = sum(standing.epochs for standing in status.ranking)
    time_left = f", about {show_span(status.left_s)} left" if status.left_s is not None else ""
    parts.append(Text(f"{have_ended(status.ended, status.trials)} ({counts or 'none began'}){time_left}"))
    parts.append(Text(f"{counted(used, 'epoch')}, {status.hours:.2f} {status.unit}"))
    if status.further:
        parts.append(Text(f"trainings of finalists on further folds: {_by_state(status.further)}"))
    scored = [standing for standing in status.ranking if standing.best]
    if scored:
        rows = []
        for standing in scored[:10] + [standing for standing in scored[10:] if standing.state == RUNNING_TRIAL]:
            rank, best = scored.index(standing) + 1, standing.best or {}
            figures = (str(rank), str(standing.number), f"{best['val_miou']:.4f}", f"{standing.epochs}/{status.epochs}")
            rows.append(((*figures, standing.state, show_params(standing.params)), "bold green" if rank == 1 else ""))
        table = Table(box=None, pad_edge=False, header_style="dim")
        titles = ("rank", "trial", "val_miou", "epochs", "state", "config")
        fitted(table, titles, rows, console, ("rank", "epochs", "state"), left=("state",))
        parts.append(table)
    if status.damaged:
        numbers = ", ".join(map(str, status.damaged))
        message = f"damaged, trial.json or curve.csv: trial {numbers}; --resume {status.name} mends what is cut off"
        parts.append(Text(message, "red"))
    broken = [standing for standing in status.ranking if standing.state in BROKEN]
    parts += [Text(f"trial {standing.number} {standing.state}: {standing.reason}", "red") for standing in broken[-5:]]
    if len(broken) > 5:
        parts.append(Text(f"and {len(broken) - 5} more that failed", "red"))
    return Group(*parts)


def _by_state(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def overview(runs: list[Status]) -> Table:
    """Return all runs, a line each."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("run", "state", "trials", "val_miou", ""):
        table.add_column(title, justify="right" if title in ("trials", "val_miou") else "left", no_wrap=bool(title))
    for status in runs:
        best = "" if status.best is None else f"{status.best:.4f}"
        count = f"{status.ended}/{status.trials}" if status.trials else ""
        table.add_row(status.name, status.state, count, best, Text(status.told, "dim"))
    return table


def show_ago(seconds: float) -> str:
    """Return how long ago something was."""
    return f"{show_span(max(seconds, 0))} ago"


def show_span(seconds: float) -> str:
    """Return seconds as 45 s, 12 min, 3 h 05 min or 2 days."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min" if whole < 172_800 else f"{whole // 86_400} days"
