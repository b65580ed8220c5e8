"""The end of a search: its leaderboard, what stopping saved, where everything is and what to type next."""

import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from search.run_state.past_usage import read_usage
from search.run_state.tables import fitted
from search.settings.plan import Plan
from search.settings.settings import Settings, typed
from spaces import own
from trainable.counts import counted
from trainable.machine.called_as import command_line
from trainable.machine.terminal import short_path
from trainable.run_folder.folders import CLASSES_FILE, RunFolder
from trainable.run_folder.search_record import data_options
from trainable.run_folder.trial_record import BROKEN, STOPPED
from trainable.storage.cache_dir import is_default_cache_dir
from trainable.storage.record_checks import DAMAGE
from trainable.storage.remote import is_uri

UNKNOWN = Settings()
"""Which resources and services a search had is not known."""


@dataclass(frozen=True)
class Standing:
    """One trial's place on the leaderboard."""

    number: int
    state: str
    reason: str
    epochs: int
    best: dict[str, float] | None  # the row of its best epoch
    params: dict[str, Any]
    seconds: float  # of training and validation


def standings(run: RunFolder, damaged: list[int] | None = None) -> list[Standing]:
    """Return the run's trials, best `val_miou` first, those without an epoch last.

    Args:
        run: whose.
        damaged: takes the numbers of trials that cannot be read, which are left out then.

    Raises:
        ValueError: a trial cannot be read, where `damaged` is not given.
    """
    ranking = []
    for folder in run.trials():
        try:
            status, rows = folder.status(), folder.curve()
        except DAMAGE:
            if damaged is None:
                raise
            damaged.append(folder.number)
            continue
        best = max(rows, key=lambda row: row["val_miou"], default=None)
        seconds = sum(row.get("train_s", 0) + row.get("val_s", 0) for row in rows)
        state, reason, params = status.state, status.reason, dict(status.params)
        ranking.append(Standing(folder.number, state, reason, len(rows), best, params, seconds))
    return sorted(ranking, key=lambda standing: -standing.best["val_miou"] if standing.best else 1)


def print_results(run: RunFolder, plan: Plan, console: Console) -> None:
    """Print the leaderboard of a run with at least one trial, and what follows from it."""
    epochs = plan.config.epochs
    ranking = standings(run)
    console.print(_leaderboard(ranking, epochs, console))
    for standing in ranking:
        if standing.state in BROKEN:
            message = f"trial {standing.number} {standing.state}: {standing.reason}"
            console.print(message, style="red", highlight=False, soft_wrap=True)
        for note in run.trial(standing.number).notes():
            console.print(f"note: trial {standing.number}: {note}", style="yellow", highlight=False, soft_wrap=True)
    used = sum(standing.epochs for standing in ranking)
    saved = sum(epochs - standing.epochs for standing in ranking if standing.state == STOPPED)
    share = f" ({saved / (used + saved):.0%} of {used + saved})" if saved else ""
    held = read_usage(run).of_trials()
    seconds = sum(standing.seconds for standing in ranking) if held is None else held
    trained = f"{counted(used, 'epoch')} trained in {seconds / 60:.1f} trial minutes"
    lines = [f"{trained}; stopping saved {counted(saved, 'epoch')}{share}"]
    path = run.uri or short_path(run.path)
    lines.append(f"everything is in {path}: trials/NUMBER/ has config, curve, weights; search.json, folds.json, study")
    sound = [standing for standing in ranking if standing.best and standing.state not in BROKEN]
    if sound:
        winner = f"{path}/{run.trial(sound[0].number).path.relative_to(run.path)}"
        again = ["--config", f"{winner}/config.json", "--folds", f"{path}/folds.json"]
        again += ["--data", plan.data] if plan.data else []
        again += ["--extra", plan.extra] if plan.extra else []
        again += ["--cache-dir", plan.cache_dir] if not is_default_cache_dir(plan.cache_dir) else []
        again += ["--skip-bad"] if plan.skip_bad else []
        again += data_options(plan.classes, plan.frames, f"{path}/{CLASSES_FILE}")
        report = command_line("analysis/report.py", "--run", str(path), "--out", "report.html")
        lines += ["next:", f"  {report}    # everything on one page, with predictions beside the truth"]
        if plan.folds > 1:  # there are no others where the data says which photos validate
            confirm = command_line("search/run.py", "--confirm", run.path.name, *runs_dir_option(run))
            lines.append(f"  {confirm}    # the best configs on the other folds, for an ensemble")
        if not any(map(is_uri, (path, plan.data, plan.extra))):  # these take paths
            lines.append(f"  {command_line('trainable.fold', *again)}    # train the best config again")
            lines.append(f"  {shlex.join(['tensorboard', '--logdir', f'{path}/trials'])}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def tell_end(console: Console, text: str, command: str = "") -> None:
    """Print how a search has ended, and the command that goes on, if one does."""
    goes_on = f"; go on with\n  {command}" if command else ""
    console.print(f"{text}{goes_on}", style="bold yellow", highlight=False, soft_wrap=True)


def resume_command(run: RunFolder, settings: Settings = UNKNOWN) -> str:
    """Return the command that goes on with a run.

    Args:
        run: that goes on. A space of the user's own is named again, so that it may run.
        settings: whose resources and services it goes on with, where they are known.
    """
    command = ["--resume", run.path.name]
    command += runs_dir_option(run)
    if own.is_own(space := settings.space or _space(run)):
        command += ["--space", space]
    command += typed(settings.given(("address", "gpus", "concurrent", "gpus_per_trial", "wandb", "mlflow")))
    return command_line("search/run.py", *command)


def _space(run: RunFolder) -> str:
    """Return the space that a run's record names, empty where it cannot be read."""
    with suppress(OSError, *DAMAGE):
        return run.record().space
    return ""


def runs_dir_option(run: RunFolder) -> list[str]:
    """Return the option that tells where a run is, if that is not where runs are by default."""
    if run.uri:
        return ["--runs-dir", run.uri.rsplit("/", 1)[0]]
    return [] if run.path.parent == Path("runs").absolute() else ["--runs-dir", str(run.path.parent)]


def _leaderboard(ranking: list[Standing], epochs: int, console: Console) -> Table:
    titles = ("rank", "trial", "val_miou", "at training size", "best epoch", "epochs", "state", "config")
    rows = []
    for rank, standing in enumerate(ranking, start=1):
        values = ("", "", "")
        if standing.best:
            values = (
                f"{standing.best['val_miou']:.4f}",
                f"{standing.best['val_miou_full']:.4f}",
                f"{standing.best['epoch']:.0f}",
            )
        cells = (
            str(rank),
            str(standing.number),
            *values,
            f"{standing.epochs}/{epochs}",
            standing.state,
            show_params(standing.params),
        )
        rows.append((cells, "bold green" if rank == 1 and standing.best else ""))
    table = Table(title="Leaderboard", title_justify="left", header_style="bold")
    return fitted(
        table, titles, rows, console, ("at training size", "best epoch", "rank", "epochs", "state"), left=("state",)
    )


NAMES = ("loss", "optimizer", "scheduler", "architecture")
"""Sampled names whose values speak for themselves."""


def show_params(params: dict[str, Any]) -> str:
    """Return sampled values on one line; what was left out is not told."""
    parts = []
    for name, value in params.items():
        formatted = f"{value:.3g}" if isinstance(value, float) else str(value)
        if value is True:
            parts.append(name)
        elif value is not False:
            parts.append(formatted if name in NAMES else f"{name}={formatted}")
    return " ".join(parts)
