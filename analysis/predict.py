"""Draws the coloured mask of one photo: python analysis/predict.py photo.jpg --run runs/NAME."""

import argparse
import sys
from pathlib import Path

from analysis.api import open_run
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.remote import run_option


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/predict.py", description="The mask of one photo, coloured.")
    parser.add_argument("photo", type=Path, help="a photo of any size")
    parser.add_argument("--run", type=run_option, nargs="+", required=True, metavar="DIR", help="run folders")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture to write (default PHOTO.mask.png, here)")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="write the mask alone too: a PNG of the photo's size")
    return parser


@command(_parser, RuntimeError)
def main(options: argparse.Namespace) -> int:
    """Draw one photo's mask; returns the exit status."""
    out = options.out or Path(options.photo.with_suffix(".mask.png").name)  # not into the data set
    prediction = open_run(*options.run).predict(options.photo)
    prediction.save(out)
    if options.mask:
        prediction.save_mask(options.mask)
    console = open_console()
    for name, share in prediction.shares().items():
        console.print(f"{share:6.1%}  {name}", highlight=False)
    written = " and ".join(map(str, filter(None, (out, options.mask))))
    console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
