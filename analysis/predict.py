"""From an ensemble's weights to class probabilities and class maps; as a command, the coloured mask of one photo:

python analysis/predict.py photo.jpg --run runs/NAME
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.prediction.ensemble_file import stored_or_best
from analysis.prediction.networks import predict_photos
from analysis.prediction.photo_input import read_photo
from trainable.classes import CLASSES
from trainable.images.resampling import SCORE_SIZE, resize_photo
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.remote import run_option


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/predict.py", description="The mask of one photo, coloured.")
    parser.add_argument("photo", type=Path, help="a photo of any size")
    parser.add_argument("--run", type=run_option, nargs="+", required=True, metavar="DIR", help="run folders")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture to write (default PHOTO.mask.png)")
    return parser


@command(_parser, RuntimeError)
def main(options: argparse.Namespace) -> int:
    """Draw one photo's mask; returns the exit status."""
    out = options.out or options.photo.with_suffix(".mask.png")
    found = draw(options.photo, options.run, out)
    console = open_console()
    for name, share in found.items():
        console.print(f"{share:6.1%}  {name}", highlight=False)
    console.print(f"wrote {out}", highlight=False, soft_wrap=True)
    return 0


def draw(path: Path, runs: Sequence[Path], out: Path) -> dict[str, float]:
    """Write a photo, its mask laid over it, and the classes' colours; return the share of each class that is there.

    Raises:
        UnreadablePhotoError: the photo cannot be decoded.
        FileNotFoundError: the runs have no trial to predict with.
    """
    from analysis.prediction.filters import class_map
    from analysis.reporting.overlay import write_overlay

    ensemble = stored_or_best(runs)
    photo = read_photo(path)
    probabilities = next(iter(predict_photos(ensemble, [path])))
    classes = class_map(probabilities, resize_photo(photo, SCORE_SIZE), ensemble.filters)
    write_overlay(out, photo, classes)
    shares = np.bincount(classes.reshape(-1), minlength=len(CLASSES)) / classes.size
    return {CLASSES[index]: float(shares[index]) for index in np.argsort(-shares) if shares[index]}


if __name__ == "__main__":
    sys.exit(main())
