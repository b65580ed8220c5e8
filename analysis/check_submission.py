"""Tells all that is wrong with a submission file: python analysis/check_submission.py FILE.csv --data DIR."""

import argparse
import sys
from pathlib import Path

from analysis.prediction.submission_check import check_file
from trainable.machine.command import Parser, command


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/check_submission.py", description="What is wrong with a submission.")
    parser.add_argument("file", type=Path, metavar="FILE", help="csv to check")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of test.json")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Check a file; returns the exit status: 0 if nothing is wrong, 1 if it is, 2 if it cannot be checked."""
    return check_file(options.file, options.data)


if __name__ == "__main__":
    sys.exit(main())
