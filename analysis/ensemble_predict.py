"""Predicts the test photos and writes the submission:

python analysis/ensemble_predict.py --run runs/NAME --out submission.csv

With the ensemble that `analysis/ensemble.py` stored, which is made now where there is none.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from analysis.check_submission import check_file
from analysis.ensemble import build_shown
from analysis.predicting import Outputs, predict_test
from analysis.run_data import data_folder
from analysis.soup import with_soups
from analysis.stored import Ensemble, refitted
from trainable.artifacts import RunFolder
from trainable.demo import find_data
from trainable.problems import DataError


def main(arguments: list[str] | None = None) -> int:
    """Predict, write and check; returns the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(markup=False, emoji=False, width=None if sys.stdout.isatty() else 130)
    runs = [path for group in options.run or [] for path in group]
    try:
        data = _data(options.data, runs)
        if options.check:
            return check_file(options.check, data)
        if not runs or not options.out:
            raise ValueError("name the runs by --run and the csv by --out, or a submission to check by --check")
        ensemble = _ensemble(runs, options, console)
        outputs = Outputs(options.out.absolute(), options.masks, options.probabilities)
        predict_test(ensemble, data, outputs, console, skip_bad=options.skip_bad)
        return check_file(options.out, data)
    except (ValueError, OSError, RuntimeError, DataError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on with the photos that are left")
        return 130


def _ensemble(runs: list[Path], options: argparse.Namespace, console: Console) -> Ensemble:
    if options.refit:
        return refitted(runs)
    try:
        ensemble = Ensemble.read(runs)
    except FileNotFoundError:
        console.print("no ensemble is stored yet: making one", highlight=False)
        build_shown(runs, console, data=options.data)
        ensemble = Ensemble.read(runs)
    return with_soups(ensemble, runs, options.data, console) if options.soup else ensemble


def _data(given: Path | None, runs: list[Path]) -> Path:
    if given or not runs:
        return find_data(given, Path())
    record = RunFolder(runs[0].absolute())
    if not (record.path / "search.json").exists():
        raise ValueError(f"{record.path} is no run folder: it has no search.json; name a folder such as runs/NAME")
    return data_folder(record.search())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("analysis/ensemble_predict.py", description="From runs to a submission.")
    parser.add_argument("--run", type=Path, nargs="+", action="append", metavar="DIR", help="run folders, runs/NAME")
    parser.add_argument("--out", type=Path, metavar="FILE", help="csv to write, in the competition's format")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of test.json (default: the first run's data)")
    parser.add_argument("--check", type=Path, metavar="FILE", help="only check this csv against test.json")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="write the class maps as coloured PNGs too")
    parser.add_argument("--probabilities", type=Path, metavar="DIR", help="write the probabilities as parquet too")
    parser.add_argument("--soup", action="store_true", help="average the weights of each config's folds: one pass each")
    parser.add_argument("--refit", action="store_true", help="the model of analysis/refit.py alone")
    parser.add_argument("--skip-bad", action="store_true", help="photos that cannot be read become background")
    return parser


if __name__ == "__main__":
    sys.exit(main())
