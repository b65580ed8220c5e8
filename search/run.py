"""Search hyperparameters: python search/run.py --space losses [--data DIR]."""

import argparse
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from search.ending.endings import CAUSES, SIGNALS
from search.ending.signals import set_handler


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status, as `search/session/command.py` does."""
    from search.session.command import main as run

    return run(arguments)


def from_command_line(arguments: list[str] | None = None) -> int:
    """Do the same in a process of its own: signals are heard from its first moment to its last."""
    set_handler(leave_early)
    status = main(arguments)
    set_handler(lambda number, frame: os._exit(status))  # all has been told
    if status in {CAUSES[cause].status for cause in SIGNALS.values()} and "ray" in sys.modules:
        leave_at_once(status)
    return status


def leave_at_once(status: int) -> None:
    """End the process without what libraries do at their end: that of a Ray whose start was cut off may crash.

    Ray's processes end with this one, as it started them.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    from search.settings.arguments import parser

    return parser()


main.parser = _parser  # type: ignore[attr-defined]  # completion asks it


def leave_early(number: int, frame: Any) -> None:
    """Handle a signal while nothing is done yet but importing."""
    end = CAUSES[SIGNALS[signal.Signals(number)]]
    os.write(1, f"{end.told}, before the first trial\n".encode())
    os._exit(end.status)


if __name__ == "__main__":
    sys.exit(from_command_line())
