"""What is done when a disk is full: by default the write fails; a search waits until there is room."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)

Wait = Callable[[Path], None]
"""Called with the path that found no room, again and again until there is some; raises to give up."""

_wait: Wait | None = None


def wait_for_room(wait: Wait | None) -> None:
    """Have writes in this process call `wait` and try again where a disk is full; None lets them fail."""
    global _wait
    _wait = wait


def with_room(write: Callable[[], None], path: Path) -> None:
    """Call `write`, which leaves nothing behind when it fails, until it finds room.

    Raises:
        OSError: it failed otherwise, or the disk is full and nobody waits.
    """
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in FULL or _wait is None:
                raise
            _wait(path)


def sleep_for_room(path: Path) -> None:
    """Wait a moment: a `wait` for processes that have nobody to tell."""
    time.sleep(1)
