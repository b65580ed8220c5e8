"""Makes one ensemble of the trials of some runs: python analysis/ensemble.py --run runs/NAME.

All that is chosen is chosen on out-of-fold predictions, and scored on parts of the photos it was not chosen on. What
was chosen before, such as each model's best epoch or which trials `--top` keeps, was chosen on all of them.
"""

import argparse
import sys
from pathlib import Path

from analysis.ensembling.show import build_shown
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.remote import add_runs

# The CRF's processes import this file as well, so PyTorch is imported where it is used: they need none of it.

CRF_OPTIONS = 16


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/ensemble.py", description="One ensemble of the trials of some runs.")
    add_runs(parser)
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
    build_shown(
        options.run,
        console,
        data=options.data,
        top=options.top,
        crf_options=options.crf_options,
        views=tuple(VIEWS) if not options.no_tta else (PLAIN,),
        filters=not options.no_filters,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
