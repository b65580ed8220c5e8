"""Patience with a full disk: trials wait, and the search says so."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from search.run_state.console import tell
from trainable.run_folder.folders import RunFolder

LOW_BYTES = 20_000_000
"""Free space below which a disk counts as full, where no trial has shown yet what its state needs."""


class FullDisk:
    """Says once that a disk is full, and once that there is room again."""

    def __init__(self, run: RunFolder, console: Console):
        self.run, self.console, self.full = run, console, False
        self.lock = threading.Lock()

    def wait(self, path: Path) -> None:
        """Wait a moment after a write has found no room."""
        self._tell(True)
        time.sleep(1)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the run's disk every other second: it is the workers that need most of it, and they have no voice."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(2):
                with contextlib.suppress(OSError):
                    self._tell(shutil.disk_usage(self.run.path).free < self._needed())

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _needed(self) -> int:
        """Return the space that the next state of a trial takes."""
        sizes = [path.stat().st_size for path in self.run.path.glob("trials/*/last.safetensors")]
        return max(sizes, default=LOW_BYTES)

    def _tell(self, full: bool) -> None:
        with self.lock:
            if full == self.full:
                return
            self.full = full
        path = self.run.path
        if full:
            free = shutil.disk_usage(path).free / 1e6
            message = f"the disk of {path} is full ({free:,.0f} MB free): trials wait, and go on when there is room"
            tell(self.console, message, "bold red")
        else:
            tell(self.console, "there is room on the disk again: trials go on", "bold")
