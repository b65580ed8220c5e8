"""Makes training data of unlabelled photos: python analysis/pseudo_label.py --run runs/NAME --data DIR --out extra/.

Each pixel gets the class that the ensemble finds likeliest, and how sure it is of that becomes the pixel's confidence;
of what it is not sure enough the label is left out. A training that validates on a fold gets labels by the models that
did not train on that fold's photos: see `trainable/dataset/extra_photos.py` for the folder this writes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.pool.run_data import labelled_cache
from analysis.prediction.ensemble_file import Ensemble
from analysis.prediction.networks import predict_photos
from analysis.pseudo_labels.label_files import check_new
from analysis.pseudo_labels.labelling import LabelSet, pseudo_record, write_labels
from analysis.pseudo_labels.thresholds import Rule
from analysis.pseudo_labels.unlabelled import Found, find_unlabelled
from analysis.results.epoch_selection import choose
from trainable.classes import Classes
from trainable.config import NO_FOLD
from trainable.counts import agrees, counted
from trainable.dataset.extra_photos import MODES, SOFT, labels_name
from trainable.machine.called_as import command_line
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.run_folder.folders import CLASSES_FILE, RunFolder
from trainable.run_folder.search_record import data_options
from trainable.storage.remote import run_option

SHOWN = 3
"""File names of photos left out that are printed; pseudo.json has all."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/pseudo_label.py", description="Training data of unlabelled photos.")
    parser.add_argument("--run", type=run_option, nargs="+", required=True, metavar="DIR", help="with an ensemble")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="test.json and photos, or photos alone")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, for --extra")
    parser.add_argument("--mode", choices=MODES, default=SOFT, help="soft labels count as much as they are sure")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.5,
        metavar="X",
        help="of each class, the surest share of its pixels (default 0.5)",
    )
    parser.add_argument("--min-confidence", type=float, default=0.4, metavar="P", help="at least (default 0.4)")
    parser.add_argument("--threshold", type=float, metavar="P", help="one for all classes, in place of --keep")
    parser.add_argument("--labelled", type=Path, metavar="DIR", help="the run's labelled photos, where they have moved")
    return parser


@command(_parser, RuntimeError, interrupted="interrupted: nothing was written")
def main(options: argparse.Namespace) -> int:
    """Label the photos; returns the exit status."""
    console = open_console()
    check_new(options.out)
    rule = Rule(options.keep, options.min_confidence, options.threshold)
    runs = [RunFolder(path.absolute()) for path in options.run]
    ensemble = Ensemble.read(options.run)
    labelled = labelled_cache(runs[0], runs[0].record().image_size, options.labelled)
    unlabelled = find_unlabelled(options.data.absolute(), labelled)
    print_found(unlabelled, console)
    sets = write_labels(
        options.out.absolute(),
        ensemble,
        unlabelled,
        predict_photos,
        rule,
        options.mode == SOFT,
        pseudo_record(runs, ensemble, unlabelled, rule, options.mode),
        lambda line: console.print(line, highlight=False),
    )
    console.print(table(sets, ensemble.classes))
    count = len(unlabelled.photos)
    message = f"{counted(count, 'photo')} {agrees(count, 'is', 'are')} in {options.out}; train on them with"
    console.print(message, f" {next_command(runs[0], options.out)}", sep="\n ", highlight=False, soft_wrap=True)
    return 0


def print_found(found: Found, console: Console) -> None:
    """Print which photos are left out, and why."""
    for left_out, why in (
        (found.labelled, "are labelled photos or of their scenes"),
        (found.unreadable, "cannot be read"),
    ):
        if listed := [f"{name} ({other})" for name, other in left_out.items()]:
            rest = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            message = f"left out, as they {why}: {counted(len(listed), 'photo')}, {', '.join(listed[:SHOWN])}{rest}"
            console.print(message, style="yellow", highlight=False, soft_wrap=True)


def table(sets: dict[str, LabelSet], classes: Classes) -> Table:
    """Return what is kept of each class in the labels by all models, and the range of the folds' thresholds."""
    whole = sets[labels_name(NO_FOLD)]
    folds = np.array([label_set.thresholds for name, label_set in sets.items() if label_set is not whole]) / 255
    result = Table(title="Labels by all models", title_justify="left", header_style="bold", box=None)
    result.add_column("class")
    for name in ("pixels predicted", "kept", "share", "threshold", "by fold"):
        result.add_column(name, justify="right")
    for index, name in enumerate(classes.names):
        predicted, label_pixels = int(whole.predicted[index]), int(whole.kept[index])
        share = f"{label_pixels / predicted:.0%}" if predicted else ""
        low, high = folds[:, index].min(), folds[:, index].max()
        result.add_row(
            name,
            f"{predicted:,}",
            f"{label_pixels:,}",
            share,
            f"{whole.thresholds[index] / 255:.2f}",
            f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}",
        )
    return result


def next_command(run: RunFolder, out: Path) -> str:
    """Return the command that trains the run's best config on the run's data, split as there, with the new photos."""
    search = run.record()
    command = ["--space", "none", "--base", str(choose(run).trial.path / "config.json")]
    if search.data:
        command += ["--data", search.data]
    if search.skip_bad:
        command.append("--skip-bad")
    command += ["--folds", str(search.folds) if search.folds > 1 else "given", "--seed", str(search.base["seed"])]
    command += data_options(search.classes, search.geometry, str(out / CLASSES_FILE))
    return command_line("search/run.py", *command, "--extra", str(out))


if __name__ == "__main__":
    sys.exit(main())
