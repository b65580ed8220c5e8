"""The leaderboard as files: csv for spreadsheets, markdown for people, json for programs."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from analysis.prediction.submission import predict_options
from analysis.results.board import Board, Entry
from analysis.results.cross_validated import Finalist
from analysis.results.params import shared, shown_value
from trainable.counts import counted
from trainable.machine.called_as import command_line
from trainable.storage.atomic_write import write_bytes, write_json


def write_files(board: Board, folder: Path) -> list[Path]:
    """Write `leaderboard.csv`, `.md` and `.json` into a folder, which is made if missing, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"leaderboard.{ending}" for ending in ("csv", "md", "json")]
    write_bytes(paths[0], as_csv(board).encode())
    write_bytes(paths[1], as_markdown(board).encode())
    write_json(paths[2], as_json(board))
    return paths


def record(entry: Entry) -> dict[str, Any]:
    """Return all figures of a trial by name; what is not known is None."""
    trial, best = entry.trial, entry.trial.best or {}
    interval = entry.place.interval if entry.place else None
    less_best = entry.place.less_best if entry.place else None
    return {
        "rank": entry.rank,
        "group": entry.group or None,
        "run": trial.folder.path.parents[1].name,
        "trial": trial.folder.number,
        "state": trial.state,
        "reason": trial.reason,
        "val_miou": best.get("val_miou"),
        "val_miou_low": interval and interval.low,
        "val_miou_high": interval and interval.high,
        "val_miou_full": best.get("val_miou_full"),
        "less_best": less_best and less_best.value,
        "less_best_low": less_best and less_best.low,
        "less_best_high": less_best and less_best.high,
        "best_epoch": best.get("epoch"),
        "epochs": len(trial.curve),
        "budget_epochs": trial.budget,
        "parameters": trial.parameters,
        "seconds": trial.seconds,
        "gpu_hours": trial.gpu_hours,
        "peak_memory_mb": trial.peak_memory_mb,
        **{f"iou_{name}": None if math.isnan(value) else value for name, value in entry.class_ious.items()},
    }


def as_csv(board: Board) -> str:
    """Return one row per trial, with a column for each sampled name."""
    rows = [
        {**record(entry), **{f"param_{name}": value for name, value in entry.trial.params.items()}}
        for entry in board.entries
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def as_json(board: Board) -> dict[str, Any]:
    """Return everything, with what the runs share."""
    search = board.found.searches[0]
    return {
        "runs": [str(run.path) for run in board.found.runs],
        "data_hash": search.data_hash,
        "folds_hash": search.folds_hash,
        "fold": search.fold,
        "going_on": board.found.going_on() or None,
        "ended_early": board.found.ended_early() or None,
        "trials": [{**record(entry), "params": entry.trial.params} for entry in board.entries],
        "finalists": [_finalist(finalist) for finalist in board.finalists],
        "verdict": board.verdict or None,
        "problems": board.found.problems,
    }


def _finalist(finalist: Finalist) -> dict[str, Any]:
    return {
        "trial": finalist.trial.folder.number,
        "run": finalist.trial.folder.path.parents[1].name,
        "group": finalist.group or None,
        "val_miou": finalist.interval.value,
        "val_miou_low": finalist.interval.low,
        "val_miou_high": finalist.interval.high,
        "less_best": finalist.less_best and finalist.less_best.value,
        "less_best_low": finalist.less_best and finalist.less_best.low,
        "less_best_high": finalist.less_best and finalist.less_best.high,
        "photos": finalist.photos,
        "folds": {str(fold): value for fold, value in finalist.val_miou_of.items()},
    }


def as_markdown(board: Board) -> str:
    """Return the tables with what is to be known about them."""
    names = ", ".join(run.path.name for run in board.found.runs)
    parts = [
        f"# Leaderboard of {names}",
        explained(board),
        standing_table(board),
        "## IoU by class",
        class_table(board),
    ]
    if board.finalists:
        parts += [f"## Finalists over {counted(len(folds_of(board)), 'fold')}"]
        parts += [f"**{board.verdict}**"] if board.verdict else []
        parts += [finalists_explained(board), finalists_table(board)]
    if board.unranked:
        parts += ["## Trials without a rank", unranked_table(board)]
    if unfinished := board.found.unfinished():
        parts.append(f"The search is {unfinished}.")
    if board.found.problems:
        parts += ["## Files that could not be used", "\n".join(f"- {problem}" for problem in board.found.problems)]
    return "\n\n".join(parts) + "\n"


def explained(board: Board) -> str:
    """Return how to read the leaderboard."""
    return (
        f"`val_miou` is that of the best epoch at {board.found.geometry.score_text}, with its 95% interval from "
        "resampling the validation photos. Trials of one group cannot be told apart: none is shown to be worse than "
        "the group's best, by intervals of paired differences that hold for all pairs together in 95% of cases."
    )


FOLDS_EXPLAINED = "Each photo is predicted by the model of the fold that did not train on it."
FINALISTS_EXPLAINED = (
    "Those of group A cannot be told apart: none is shown to be worse than the first by paired differences over the "
    "folds and seeds that both were trained on, with the noise between seeds. Those of group B are, which is why they "
    "may have fewer folds. Of equal configs a race throws one out, or calls one the best, in at most 5% of cases."
)


def finalists_explained(board: Board) -> str:
    """Return how to read the finalists' table."""
    return f"{FOLDS_EXPLAINED} {FINALISTS_EXPLAINED}" if board.verdict else FOLDS_EXPLAINED


def cells(entry: Entry) -> list[str]:
    """Return a ranked trial's rank, group, name, val_miou at both sizes, epochs, parameters, minutes and state."""
    trial, best = entry.trial, entry.trial.best or {}
    return [
        str(entry.rank),
        entry.group,
        trial.label,
        str(entry.place.interval) if entry.place else f"{best['val_miou']:.3f}",
        f"{best['val_miou_full']:.3f}",
        f"{len(trial.curve)}/{trial.budget}",
        millions(trial.parameters),
        f"{trial.seconds / 60:.1f}",
        trial.state,
    ]


def standing_table(board: Board, count: int | None = None) -> str:
    """Return the ranked trials as a markdown table, all or the first `count`."""
    rows = []
    for entry in board.ranked[:count]:
        rows.append([*cells(entry), board.in_short(entry.trial)])
    head = ["rank", "group", "trial", "val_miou", "at training size", "epochs", "parameters", "minutes", "state"]
    return _table([*head, "config"], rows)


def class_table(board: Board, count: int | None = None) -> str:
    """Return IoU by class of the ranked trials as a markdown table, all or the first `count`."""
    rows = []
    for entry in board.ranked[:count]:
        values = ["" if math.isnan(value) else f"{value:.2f}" for value in entry.class_ious.values()]
        rows.append([str(entry.rank), entry.trial.label, *values])
    return _table(["rank", "trial", *board.found.classes.names], rows)


def shared_table(board: Board, count: int) -> str:
    """Return what the best trials share as a markdown table, at most `count` parameters."""
    best, which = board.best_trials()
    parameters = shared([entry.trial.params for entry in best], [entry.trial.params for entry in board.ranked])
    rows = [[parameter.name, parameter.best, parameter.every] for parameter in parameters if parameter.lift > 0][:count]
    return f"{which} against all {len(board.ranked)}:\n\n{_table(['parameter', 'among the best', 'among all'], rows)}"


def summary(board: Board) -> str:
    """Return what there is of the runs, in markdown."""
    trials, results = board.found.trials, board.found
    names = ", ".join(f"`{run.path.name}`" for run in results.runs)
    epochs, minutes = sum(len(trial.curve) for trial in trials), sum(trial.seconds for trial in trials) / 60
    overview = f"{names}: {counted(len(trials), 'trial')}, {counted(epochs, 'epoch')} in {minutes:.1f} trial minutes"
    overview += f"; stopping saved {counted(results.saved_epochs(), 'epoch')}"
    lines = [overview, *([f"**{results.unfinished()}**"] if results.unfinished() else [])]
    lines += [f"- not usable: {problem}" for problem in results.problems]
    lines += [f"- trial {entry.trial.label} {entry.trial.state}: {entry.trial.reason}" for entry in board.unranked]
    return "\n\n".join(lines)


def picked(board: Board) -> str:
    """Return the trials to go on with and the commands that do, in markdown."""
    best, which = board.best_trials()
    if not best:
        return "No trial has ended an epoch yet."
    run = board.found.runs[0].path.name
    numbers = ", ".join(entry.trial.label for entry in best)
    written = predict_options(board.found.classes, board.found.geometry)
    confirm = command_line("search/run.py", "--confirm", run, "--top", str(len(best)))
    commands = (
        f"{confirm}    # train the best on the other folds too",
        command_line("analysis/ensemble_predict.py", "--run", f"runs/{run}", *written),
    )
    return "\n".join([f"{which}: **{numbers}**.", "", "```sh", *commands, "```"])


def folds_of(board: Board) -> list[int]:
    """Return the folds that any finalist has."""
    return sorted({fold for finalist in board.finalists for fold in finalist.val_miou_of})


def finalists_table(board: Board) -> str:
    """Return the configs of several folds as a markdown table."""
    rows = []
    for finalist in board.finalists:
        values = [
            f"{finalist.val_miou_of[fold]:.3f}" if fold in finalist.val_miou_of else "" for fold in folds_of(board)
        ]
        config = board.in_short(finalist.trial)
        less = f"{finalist.less_best:+}" if finalist.less_best else ""
        rows.append(
            [finalist.group, finalist.trial.label, str(finalist.interval), less, str(finalist.photos), *values, config]
        )
    folds = [f"fold {fold}" for fold in folds_of(board)]
    return _table(["group", "trial", "val_miou", "less the first", "photos", *folds, "config"], rows)


def unranked_table(board: Board) -> str:
    """Return the trials without a rank and why as a markdown table."""
    rows = [
        [entry.trial.label, entry.trial.state, entry.trial.reason, board.in_short(entry.trial)]
        for entry in board.unranked
    ]
    return _table(["trial", "state", "reason", "config"], rows)


def millions(count: int | None) -> str:
    """Return a number of parameters as a table shows it."""
    return "" if count is None else f"{shown_value(count / 1e6)} M"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in row)} |" for row in cells)
