"""Builds an ensemble and shows how far it is and what it has come to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from analysis.prediction.submission import predict_options
from trainable.machine.called_as import command_line
from trainable.run_folder.ensemble_record import Stage, read_ensemble
from trainable.storage.remote import push_back


def build_shown(runs: list[Path], console: Console, **options: Any) -> Path:
    """Build an ensemble while showing what is found; returns the stored file. Options are those of `build`."""
    from analysis.ensembling.build import build

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def progress(title: str, photos: int) -> Callable[[int], None]:
            task = bars.add_task(title, total=photos or None)
            return lambda done: bars.advance(task, done)

        path = build(runs, lambda message: console.print(message, highlight=False, soft_wrap=True), progress, **options)
    record = read_ensemble(path)
    console.print(stage_table(record.stages, record.geometry.score_text))
    written = predict_options(record.classes, record.geometry)
    again = command_line("analysis/ensemble_predict.py", "--run", *map(str, runs), *written)
    console.print(
        f"stored in {path}; next:\n  {again}",
        highlight=False,
        soft_wrap=True,
    )
    push_back(path.parents[1], path.parent.name)
    return path


def stage_table(stages: Sequence[Stage], score_text: str) -> Table:
    """Return the out-of-fold mIoU after each step, measured where `Geometry.score_text` says."""
    table = Table(title=f"Out-of-fold mIoU at {score_text}", title_justify="left", box=None)
    table.add_column("step")
    table.add_column("mIoU", justify="right")
    table.add_column("95% over photos", justify="right")
    for stage in stages:
        table.add_row(stage.name, f"{stage.value:.4f}", f"{stage.low:.3f} to {stage.high:.3f}")
    return table
