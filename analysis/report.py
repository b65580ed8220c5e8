"""One page on one or more runs, to be opened without a network: python analysis/report.py --run runs/NAME.

Leaderboard, learning curves, which parameters mattered, IoU by class, what the best trials share, predictions beside
the truth, failures with their reasons. Figures can be hovered and zoomed, tables sort.
"""

import argparse
import sys
from pathlib import Path

from analysis.api import open_run
from analysis.reporting import page
from analysis.reporting import sections as tell
from analysis.results.board import Board
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.atomic_write import write_bytes
from trainable.storage.remote import add_runs

PHOTOS = 6
"""Pictures of each gallery."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/report.py", description="One page on one or more runs.")
    add_runs(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="page to write (default: report.html in the run)")
    parser.add_argument("--photos", type=int, default=PHOTOS, metavar="N", help=f"per gallery (default {PHOTOS})")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Write the page; returns the exit status."""
    console = open_console()
    out = options.out or options.run[0] / "report.html"
    if options.photos < 1:
        raise ValueError(f"--photos must be at least 1, found {options.photos}")
    board = open_run(*options.run).board
    filled = report(board, options.photos)
    write_bytes(out, filled.encode())
    unfinished = board.found.unfinished() and f"this run is {board.found.unfinished()}"
    for note in (unfinished, *map(tell.longer_hint, board.found.runs), *board.found.problems):
        if note:
            console.print(f"note: {note}", style="yellow", highlight=False, soft_wrap=True)
    size, script = f"{out.stat().st_size / 1e6:.1f} MB", page.script_mb(filled)
    size += f", {script:.1f} of it the script that draws figures without a network" if script else ""
    console.print(f"wrote {out} ({size})", highlight=False, soft_wrap=True)
    return 0


def report(board: Board, photos: int = PHOTOS) -> str:
    """Return the page, with `photos` pictures in each gallery."""
    sections = [("top", "", tell.head(board)), ("standing", "Leaderboard", tell.standing(board))]
    if board.finalists:
        sections.append(("folds", "Finalists over several folds", tell.finalists(board)))
    if phases := "".join(tell.phases(run) for run in board.found.runs):
        sections.insert(1, ("phases", "On the way to a submission", phases))
    steps = "".join(tell.stages(run) for run in board.found.runs)
    if steps:
        sections.append(("steps", "From the best trial to the submission", steps))
    if board.ranked:
        sections += [
            ("curves", "Learning curves", tell.curves(board)),
            ("parameters", "Parameters", tell.parameters(board)),
            ("shares", "What the best share", tell.common(board)),
            ("iou", "IoU by class", tell.classes(board)),
            ("pictures", "Predictions", tell.galleries(board, photos)),
        ]
    sections.append(("notes", "Notes", tell.notes(board)))
    sections.append(("made", "Provenance", tell.provenance(board)))
    return page.page(f"Trashsweep: {' and '.join(run.path.name for run in board.found.runs)}", sections)


if __name__ == "__main__":
    sys.exit(main())
