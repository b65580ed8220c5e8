"""Predicts the test photos: python analysis/ensemble_predict.py --run runs/NAME --out submission.csv, or --masks DIR.

The csv is the competition's; masks are PNGs of the photos' own sizes, for classes and photos of any kind. They come of
the ensemble that `analysis/ensemble.py` stored, which is made now where there is none.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from analysis.ensembling.show import build_shown
from analysis.prediction.submission import check_csv
from analysis.prediction.submission_check import check_file
from trainable.counts import agrees, counted
from trainable.machine.called_as import command_line, program
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console, short_path
from trainable.run_folder.folders import RunFolder
from trainable.storage.remote import add_runs

# The CRF's processes import this file as well, so PyTorch is imported where it is used: they need none of it.
if TYPE_CHECKING:
    from analysis.prediction.ensemble_file import Ensemble


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/ensemble_predict.py", description="From runs to a submission.")
    add_runs(parser, required=False)
    parser.add_argument("--out", type=Path, metavar="FILE", help="csv to write, in the competition's format")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of test.json (default: the first run's data), with --masks alone also one of photos",
    )
    parser.add_argument("--check", type=Path, metavar="FILE", help="only check this csv against test.json")
    parser.add_argument(
        "--masks", type=Path, metavar="DIR", help="write each photo's mask as a coloured PNG of its size"
    )
    parser.add_argument("--probabilities", type=Path, metavar="DIR", help="write the probabilities as parquet too")
    parser.add_argument("--soup", action="store_true", help="average the weights of each config's folds: one pass each")
    parser.add_argument("--refit", action="store_true", help=f"the model of `{program('analysis/refit.py')}` alone")
    parser.add_argument(
        "--skip-bad", action="store_true", help="photos that cannot be read become background, or class 0"
    )
    return parser


@command(_parser, RuntimeError, interrupted="interrupted; the same command goes on with the photos that are left")
def main(options: argparse.Namespace) -> int:
    """Predict, write and check; returns the exit status."""
    console = open_console(wide=True)
    runs = options.run or []
    if options.check and not (options.data or runs):
        raise ValueError("--check needs the test photos' names: name their folder by --data, or a run by --run")
    if not options.check and not (runs and (options.out or options.masks)):
        raise ValueError(
            "name the runs by --run and the csv by --out or a folder by --masks, or a submission to check by --check"
        )
    data = options.data or _data_of(runs[0])
    if options.check:
        return check_file(options.check, data)
    from analysis.api import open_run

    run = open_run(*runs)
    more = {"data": data, "probabilities": options.probabilities, "skip_bad": options.skip_bad}
    ensemble = _ensemble(runs, options, console)
    if not options.out:
        run.masks(options.masks, ensemble=ensemble, **more)
        return 0
    run.submission(options.out, masks=options.masks, ensemble=ensemble, **more)
    return check_file(options.out, data)


def _ensemble(runs: list[Path], options: argparse.Namespace, console: Console) -> "Ensemble":
    from analysis.ensembling.weight_soup import with_soups
    from analysis.prediction.ensemble_file import Ensemble, NoEnsembleError, newer, refitted, stored_of_others

    if options.refit:
        return refitted(runs)
    try:
        ensemble = Ensemble.read(runs)
    except NoEnsembleError:
        names = " and ".join(short_path(run) for run in runs)
        for others in stored_of_others(runs):
            told = f"an ensemble of {' and '.join(run.name for run in others)} is stored"
            written = ("--out", str(options.out)) if options.out else ("--masks", str(options.masks))
            command = command_line("analysis/ensemble_predict.py", "--run", *map(short_path, others), *written)
            message = f"note: {told}, and is not used here; this uses it:\n  {command}"
            console.print(message, style="yellow", highlight=False, soft_wrap=True)
        together = " together" if len(runs) > 1 else ""
        message = f"no ensemble of {names}{together} is stored yet: making one"
        console.print(message, highlight=False, soft_wrap=True)
        if options.out:  # what it cannot be written to is told before the hours that it takes
            search = RunFolder.open(runs[0]).record()
            check_csv(search.classes, search.geometry)
        build_shown(runs, console)
        ensemble = Ensemble.read(runs)
    if count := newer(ensemble, runs):
        again = command_line("analysis/ensemble.py", "--run", *map(str, runs))
        ended = f"{counted(count, 'training')} {agrees(count, 'has', 'have')} ended"
        message = f"note: {ended} since the ensemble was made; {again} takes {agrees(count, 'it', 'them')} in"
        console.print(message, style="yellow", highlight=False, soft_wrap=True)
    return with_soups(ensemble, runs, None, console) if options.soup else ensemble


def _data_of(path: Path) -> Path:
    from analysis.pool.run_data import data_folder

    return data_folder(RunFolder.open(path).record())


if __name__ == "__main__":
    sys.exit(main())
