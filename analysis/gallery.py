"""Draws a trial's predictions beside the truth: python analysis/gallery.py --run runs/NAME."""

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.pool.run_data import labelled_cache
from analysis.prediction.mask_files import colours
from analysis.prediction.networks import load_model, predict_classes
from analysis.reporting.legend import add_legend
from trainable.classes import Classes
from trainable.config import TrialConfig
from trainable.counts import counted
from trainable.dataset.cache import Cache
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.metric.confusion import mean_iou
from trainable.run_folder.folders import RunFolder
from trainable.storage.remote import run_option


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/gallery.py", description="Predictions of a trial beside the truth.")
    parser.add_argument("--run", type=run_option, required=True, metavar="DIR", help="run folder, such as runs/NAME")
    parser.add_argument("--trial", type=int, metavar="N", help="trial number (default: the best)")
    parser.add_argument("--photos", type=int, default=8, metavar="N", help="validation photos (default 8)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture to write (default RUN/predictions.png)")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Draw the picture; returns the exit status."""
    out = draw(RunFolder.open(options.run), options.trial, options.photos, options.out)
    open_console().print(f"wrote {out}", highlight=False, soft_wrap=True)
    return 0


def draw(run: RunFolder, trial: int | None, photos: int, out: Path | None) -> Path:
    """Write the picture of a trial's predictions and return its path.

    Args:
        run: the run folder.
        trial: number; None takes the best.
        photos: how many validation photos, those of most classes first.
        out: picture file; None writes into the run folder.

    Raises:
        ValueError: no such trial, or nothing to show.
    """
    folder = run.best_trial() if trial is None else run.trial(trial)
    if not folder.path.exists():
        raise ValueError(
            f"there is no trial {trial} in {run.path}; it has {counted(len(run.trials()), 'trial')}, counted from 0"
        )
    if photos < 1:
        raise ValueError(f"--photos must be at least 1, found {photos}")
    model = load_model(folder)
    cache = labelled_cache(run, TrialConfig.from_dict(folder.config()).image_size)
    confusion = folder.confusion()
    positions = _most_varied(cache, confusion["file_names"], photos)
    predicted = predict_classes(model, cache.images[positions])
    titles = _titles(confusion, [cache.file_names[position] for position in positions])
    figure = _figure(cache.images[positions], cache.masks[positions], predicted, titles, cache.classes)
    value = max(row["val_miou"] for row in folder.curve())
    figure.suptitle(f"{run.path.name}, trial {folder.number}: val_miou {value:.3f}", x=0.01, ha="left", fontsize=11)
    out = out or run.path / "predictions.png"
    figure.savefig(out, dpi=110)
    plt.close(figure)
    return out


def _most_varied(cache: Cache, file_names: NDArray[Any], photos: int) -> NDArray[np.int64]:
    position_of = {name: position for position, name in enumerate(cache.file_names)}
    gone = [name for name in file_names if name not in position_of]
    if gone:
        raise ValueError(f"{gone[0]} ({len(gone)} such photos) is not in the data any more; restore the run's data")
    positions = np.array([position_of[name] for name in file_names])
    classes = (np.asarray(cache.class_pixels)[positions] > 0).sum(axis=1)
    return positions[np.argsort(-classes, kind="stable")[:photos]]


def _titles(confusion: dict[str, NDArray[Any]], file_names: list[str]) -> list[str]:
    matrix_of = dict(zip(confusion["file_names"], confusion["scored"], strict=True))
    return [f"{name}\nmIoU {mean_iou(torch.from_numpy(matrix_of[name])):.2f}" for name in file_names]


def _figure(
    images: NDArray[Any], truth: NDArray[Any], predicted: NDArray[Any], titles: list[str], classes: Classes
) -> Figure:
    columns, aspect, palette = len(images), images.shape[1] / images.shape[2], colours(classes)
    size = (1.35 * columns + 0.4, max(4.05 * aspect, 2.0) + 1.35)
    figure, axes = plt.subplots(3, columns, figsize=size, squeeze=False)
    rows = (("photo", images), ("truth", palette[truth]), ("prediction", palette[predicted]))
    for row, (name, pictures) in enumerate(rows):
        for column in range(columns):
            axis = axes[row, column]
            axis.imshow(pictures[column], interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(titles[column], fontsize=6.5)
        axes[row, 0].set_ylabel(name)
    present = {*np.unique(truth).tolist(), *np.unique(predicted).tolist()}
    taken = add_legend(figure, classes, present, fontsize=7.5)
    top = 1 - 0.7 / size[1]
    figure.subplots_adjust(left=0.05, right=0.99, top=top, bottom=max(taken, 0.11), wspace=0.05, hspace=0.05)
    return figure


if __name__ == "__main__":
    sys.exit(main())
