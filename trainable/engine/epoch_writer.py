"""Writes what an epoch has come to while the next one trains.

Nothing is told of an epoch before its files are on disk. What is written meanwhile is a copy, so that the training may
go on; there is one copy at a time.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class EpochWriter:
    """One thread that writes, and what is to be told once it has.

    Only the training's own thread tells: what it calls may end the training by raising.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="epoch-writer")
        self._writing: Future[None] | None = None
        self._tell: Callable[[], None] = lambda: None

    def __enter__(self) -> "EpochWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until what is being written is on disk, whatever ended the training."""
        self._thread.shutdown(wait=True)

    def begin(self, write: Callable[[], None], tell: Callable[[], None]) -> None:
        """Begin to write; `tell` is called by `deliver` or `finish` once it is done."""
        self.finish()
        self._writing, self._tell = self._thread.submit(write), tell

    def deliver(self) -> None:
        """Tell, if what was to be written first is on disk.

        Raises:
            OSError: it could not be written.
            Exception: as the one who is told raises.
        """
        if self._writing is not None and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Wait until all is on disk, and tell. Raises as `deliver` does."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        writing.result()
        self._tell()
