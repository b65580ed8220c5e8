"""Tells all that is wrong with a submission file: python analysis/check_submission.py FILE.csv --data DIR."""

import argparse
import sys
from pathlib import Path

from analysis.prediction.submission_check import check_submission, expected_ids, listed
from trainable.machine.command import Parser, command, error_console
from trainable.machine.terminal import open_console


def check_file(path: Path, data: Path) -> int:
    """Say what is wrong with a file; returns the exit status: 0 if nothing is, 1 if something is.

    Raises:
        ValueError: what a submission for this data needs cannot be told.
        OSError: the file cannot be read.
    """
    errors = error_console()
    expected, order = expected_ids(data)
    problems = check_submission(path, expected, order, lambda text: errors.print(f"warning: {text}", style="yellow"))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        errors.print(f"{count} in {path}:\n{listed(problems)}", style="red")
        return 1
    open_console().print(f"{path} is a valid submission of {len(expected)} photos", highlight=False, soft_wrap=True)
    return 0


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
