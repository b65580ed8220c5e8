"""Search hyperparameters: python search/run.py --space losses [--data DIR]."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from search.ends import CAUSES, SIGNALS


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status, as `search/command.py` does."""
    from search.command import main as run

    return run(arguments)


def leave_early(number: int, frame: Any) -> None:
    """Handle a signal while nothing is done yet but importing."""
    end = CAUSES[SIGNALS[signal.Signals(number)]]
    os.write(1, f"{end.told}, before the first trial\n".encode())
    os._exit(end.status)


def handle(handler: Callable[[int, Any], None]) -> None:
    """Have a function handle the signals that end a search, where the search itself does not."""
    for each in SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:  # as nohup has SIGHUP
            signal.signal(each, handler)


if __name__ == "__main__":
    handle(leave_early)
    status = main()
    handle(lambda number, frame: os._exit(status))  # all has been told
    sys.exit(status)
