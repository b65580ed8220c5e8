"""What each search found against the reference recipe: python analysis/compare_runs.py --run runs/A runs/B.

A table in markdown, one row per run: val_miou of its first trial, which is the reference recipe, and of its best, with
95% intervals from resampling the validation photos, the paired difference of the two, and the epochs spent. The best
was chosen from all trials, so the difference's interval is as wide as holds for each of them together, in 95% of cases.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

from analysis.pool.same_scores import check_same_scores
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.metric.bootstrap import Interval, mean_ious, miou_interval, resamples
from trainable.metric.noise import gap
from trainable.metric.paired_comparison import ALPHA
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.remote import add_runs

HEAD = ("space", "trials", "epochs", "reference recipe", "best", "best less reference", "best config")


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/compare_runs.py", description="Compare searches in one table.")
    add_runs(parser, "--runs")  # its name of before
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    console = open_console()
    runs = [RunFolder(path) for path in options.run]
    rows = [row(run) for run in runs]
    check_same_scores([(run.path.name, run.record()) for run in runs])
    for cells in (HEAD, ("---",) * len(HEAD), *rows):
        console.print(f"| {' | '.join(cells)} |", highlight=False, soft_wrap=True)
    return 0


def row(run: RunFolder) -> tuple[str, ...]:
    """Return a run's cells.

    Raises:
        ValueError: no such run, or none of its trials, or not its first, has ended an epoch.
        OSError: the run cannot be read.
    """
    if not run.trials():
        raise ValueError(f"{run.path} is not a run folder with trials")
    best, number = run.best_trial(), run.reference()
    first = run.trial(number or 0)
    if number is not None and not first.curve():
        raise ValueError(f"trial {number} of {run.path}, the reference recipe, has ended no epoch")
    search = run.record()
    spent = sum(len(folder.curve()) for folder in run.trials())
    cells = (search.space, str(len(run.trials())), f"{spent} of {len(run.trials()) * search.epochs}")
    of_best, reference, gain = best.confusion()["scored"], "-", "-"
    if number is not None:
        of_first = first.confusion()["scored"]
        reference, gain = str(miou_interval(of_first)), f"{_gain(of_best, of_first, len(run.trials())):+}"
    return (*cells, reference, str(miou_interval(of_best)), gain, _config(best))


def _gain(best: NDArray[np.integer], first: NDArray[np.integer], trials: int) -> Interval:
    """Return the best's mIoU less the first's, by confusion matrices (N, C, C), as one of all trials' that hold."""
    counts = resamples(len(first))
    value, drawn = (mean_ious(best, draws) - mean_ious(first, draws) for draws in (np.ones_like(counts[:1]), counts))
    return gap(float(value[0]), drawn, len(first)).interval(ALPHA / max(trials - 1, 1))


def _config(folder: TrialFolder) -> str:
    params = {
        name: f"{value:.3g}" if isinstance(value, float) else str(value)
        for name, value in folder.params().items()
        if value is not False
    }
    return ", ".join(f"{name} {value}" for name, value in params.items())


if __name__ == "__main__":
    sys.exit(main())
