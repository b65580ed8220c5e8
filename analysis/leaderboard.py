"""Ranks the trials of runs and says which cannot be told apart: python analysis/leaderboard.py --run runs/NAME.

Several runs are ranked together if they share data and folds: --run runs/A runs/B.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.api import open_run
from analysis.results.board import Board, Entry
from analysis.results.exports import cells, folds_of, write_files
from trainable.counts import agrees, counted
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.remote import add_runs

SHOWN = 20
"""Trials printed where --top does not say otherwise."""

ROOMY, PIPED = 110, 130
"""Terminal columns from which on all figures are shown, and those of a file or pipe."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/leaderboard.py", description="Rank the trials of one or more runs.")
    add_runs(parser)
    parser.add_argument(
        "--top", type=int, default=SHOWN, metavar="N", help=f"trials to print (default {SHOWN}; the files have all)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default: the first run's folder)")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Print the leaderboard and write its files; returns the exit status."""
    console = open_console()
    if not console.is_terminal:
        console.width = PIPED
    board = open_run(*options.run).board
    entries = board.top(options.top)
    files = write_files(board, options.out or options.run[0])
    _print(board, entries, options.top, console)
    console.print(f"wrote {', '.join(map(str, files))}", highlight=False, soft_wrap=True)
    return 0


def _print(board: Board, entries: list[Entry], asked: int, console: Console) -> None:
    if entries:
        console.print(_table(board, entries, console.width))
        console.print(
            "trials of one group cannot be told apart on these photos: none is shown to be worse than the\n"
            "group's best (paired differences, 95% for all pairs together)",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print("no trial has ended an epoch yet", style="yellow")
    if asked > len(board.ranked) and asked != SHOWN:
        scored = f"{counted(len(board.ranked), 'trial')} {agrees(len(board.ranked), 'has', 'have')} a val_miou"
        console.print(f"--top {asked}: {scored}, all are shown", highlight=False)
    if board.finalists:
        console.print(_finalists_table(board, console.width))
        if board.verdict:
            console.print(board.verdict, highlight=False, soft_wrap=True)
    broken = [entry.trial for entry in board.unranked if entry.trial.broken]
    lines = [(f"trial {trial.label} {trial.state}: {trial.reason}", "red") for trial in broken]
    if unfinished := board.found.unfinished():
        lines.append((f"note: the search is {unfinished}", "yellow"))
    if board.found.problems:
        lines.append((f"files that could not be used and are left out: {len(board.found.problems)}", "red"))
        lines += [(f"  {problem}", "red") for problem in board.found.problems]
    for line, style in lines:
        console.print(line, style=style, highlight=False, soft_wrap=True)


def _table(board: Board, entries: list[Entry], width: int) -> Table:
    head = ["rank", "group", "trial", "val_miou (95%)", "at training size", "epochs", "params", "minutes", "state"]
    rows = [cells(entry) for entry in entries]
    if width < ROOMY:
        head, rows = head[:4] + head[8:], [row[:4] + row[8:] for row in rows]
    return _with_configs("Leaderboard", head, rows, [board.in_short(entry.trial) for entry in entries], width)


def _finalists_table(board: Board, width: int) -> Table:
    folds = folds_of(board)
    head = ["group", "trial", "val_miou (95%)", "photos", *(f"fold {fold}" for fold in folds)]
    rows = []
    for finalist in board.finalists:
        values = [f"{finalist.val_miou_of[fold]:.3f}" if fold in finalist.val_miou_of else "" for fold in folds]
        rows.append([finalist.group, finalist.trial.label, str(finalist.interval), str(finalist.photos), *values])
    configs = [board.in_short(finalist.trial) for finalist in board.finalists]
    return _with_configs(f"Finalists over {counted(len(folds), 'fold')}", head, rows, configs, width)


def _with_configs(title: str, head: list[str], rows: list[list[str]], configs: list[str], width: int) -> Table:
    """Return a table whose last column has what room the terminal leaves: rich would shrink all columns alike."""
    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    widths = [max(*map(len, column)) for column in zip(head, *rows, strict=True)]
    for name, needed in zip(head, widths, strict=True):
        table.add_column(name, justify="left" if name == "state" else "right", min_width=needed, no_wrap=True)
    table.add_column("config", no_wrap=True)
    room = max(width - sum(widths) - 2 * len(widths) - 2, len("config"))
    for position, (row, config) in enumerate(zip(rows, configs, strict=True)):
        cut = config if len(config) <= room else f"{config[: room - 1]}…"
        table.add_row(*row, cut, style="bold green" if position == 0 else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
