"""Makes one ensemble of the trials of some runs: python analysis/ensemble.py --run runs/NAME.

All that is chosen is chosen on out-of-fold predictions, and scored on parts of the photos it was not chosen on. What
was chosen before, such as each model's best epoch or which trials `--top` keeps, was chosen on all of them.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.atomic_write import read_json
from trainable.storage.remote import push_back, run_option

# The CRF's processes import this file as well, so PyTorch is imported where it is used: they need none of it.

CRF_OPTIONS = 16


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/ensemble.py", description="One ensemble of the trials of some runs.")
    parser.add_argument(
        "--run",
        type=run_option,
        nargs="+",
        action="append",
        required=True,
        metavar="DIR",
        help="run folders, runs/NAME",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the run's photos, if they have moved")
    parser.add_argument("--top", type=int, metavar="K", help="the K best on all photos (default: all that are kept)")
    parser.add_argument("--no-tta", action="store_true", help="predict photos as they are alone")
    parser.add_argument("--no-filters", action="store_true", help="no CRF, class factors or removal of small pieces")
    parser.add_argument(
        "--crf-options",
        type=int,
        default=CRF_OPTIONS,
        metavar="N",
        help=f"parameters of the CRF to try (default {CRF_OPTIONS}; 0: no CRF)",
    )
    return parser


@command(_parser, RuntimeError, interrupted="interrupted; the same command goes on with the predictions it has made")
def main(options: argparse.Namespace) -> int:
    """Build and store the ensemble; returns the exit status."""
    from analysis.prediction.views import PLAIN, VIEWS

    console = open_console(wide=True)
    runs = [path for group in options.run for path in group]
    build_shown(
        runs,
        console,
        data=options.data,
        top=options.top,
        crf_options=options.crf_options,
        views=tuple(VIEWS) if not options.no_tta else (PLAIN,),
        filters=not options.no_filters,
    )
    return 0


def build_shown(runs: list[Path], console: Console, **options: Any) -> Path:
    """Build an ensemble while showing what is found; returns the stored file. Options are those of `build`."""
    from analysis.ensembling.build import build

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def progress(title: str, photos: int) -> Callable[[int], None]:
            task = bars.add_task(title, total=photos or None)
            return lambda done: bars.advance(task, done)

        path = build(runs, lambda text: console.print(text, highlight=False, soft_wrap=True), progress, **options)
    console.print(stage_table(read_json(path)["stages"]))
    again = " ".join(f"--run {run}" for run in runs)
    console.print(
        f"stored in {path}; next:\n  python analysis/ensemble_predict.py {again} --out submission.csv",
        highlight=False,
        soft_wrap=True,
    )
    push_back(path.parents[1], path.parent.name)
    return path


def stage_table(stages: list[dict[str, Any]]) -> Table:
    """Return the out-of-fold mIoU after each step."""
    table = Table(title="Out-of-fold mIoU at 256 x 256", title_justify="left", box=None)
    table.add_column("step")
    table.add_column("mIoU", justify="right")
    table.add_column("95% over photos", justify="right")
    for each in stages:
        table.add_row(each["name"], f"{each['value']:.4f}", f"{each['low']:.3f} to {each['high']:.3f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
