"""Ctrl-C, SIGTERM and SIGHUP: who hears them, and how the driver's output survives a terminal that is gone."""

import contextlib
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from search.ending.endings import SIGNALS

AGAIN_S = 1.0
"""Seconds after which a signal before the trials is sent again, where nothing came of it."""

SOON_S, MOST_PUT_OFF = 0.05, 20
"""Seconds after which it is sent again, where it came at a bad moment, and how often at most."""

PUT_OFF = ("<frozen importlib", logging.__file__, threading.__file__, weakref.__file__)
"""Beginnings of the files of Python's own in which nothing is raised."""

LEAVE_S = 9.0
"""Seconds from a signal before the trials to the end of the process; a kill may follow after 10."""


class EndedBySignalError(KeyboardInterrupt):
    """A signal came before the first trial; `cause` is a value of `SIGNALS`."""

    def __init__(self, cause: str):
        super().__init__(cause)
        self.cause = cause


def ignore(cause: str) -> None:
    """Do nothing at the end of a search."""


class SetUp:
    """The time before the trials, in which a signal gives up whatever is being done.

    What a handler raises can be lost: Python prints and forgets it in a destructor or where it forks, and a lock that
    was just taken there stays taken. So the signal is sent again until what it raised has come out of `given_up`, and
    a process that is not gone `LEAVE_S` after the signal is ended where it is.
    """

    def __init__(self, given_up: Callable[[str], None] = ignore, last_words: Callable[[str], None] = ignore):
        """Get functions of the cause, a value of `SIGNALS`.

        Args:
            given_up: called once before what was begun is cleaned up.
            last_words: says that the search has ended, and cleans up, where the main thread no longer can.
        """
        self.on_given_up, self.last_words = given_up, last_words
        self.number, self.put_off = 0, 0
        self.noticed, self.over = threading.Event(), threading.Event()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals that end a search."""
        try:
            with heard(self._on_signal):
                yield
        finally:
            self.noticed.set()
            self.over.set()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Do what signals give up; what is cleaned up after it, further ones leave alone."""
        try:
            yield
        except EndedBySignalError as error:
            self.noticed.set()
            self.on_given_up(error.cause)
            raise
        finally:
            self.noticed.set()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.number and self.noticed.is_set():
            return
        if not self.number:
            self.number = number
            threading.Thread(target=self._insist, daemon=True).start()
        # Where locks of Python's own are taken and given back, what is raised may leave them taken.
        at = frame.f_code.co_filename if frame else ""
        if at.startswith(PUT_OFF) and self.put_off < MOST_PUT_OFF:
            self.put_off += 1
            return
        raise EndedBySignalError(SIGNALS[signal.Signals(self.number)])

    def _insist(self) -> None:
        deadline = time.monotonic() + LEAVE_S
        while time.monotonic() < deadline:
            if self.noticed.wait(SOON_S if 0 < self.put_off < MOST_PUT_OFF else AGAIN_S):
                break
            trials_began = signal.getsignal(self.number) != self._on_signal
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)
            if trials_began:  # what handles signals now sees to the end
                return
        if not self.over.wait(max(deadline - time.monotonic(), 0)):
            self.last_words(SIGNALS[signal.Signals(self.number)])
            os._exit(128 + self.number)


def set_handler(handle: Callable[[int, Any], None]) -> dict[int, Any]:
    """Have a function handle the signals that end a search from now on; returns what did, by signal."""
    numbers = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handle) for number in numbers}


@contextmanager
def heard(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Have a function handle the signals that end a search; SIGHUP only where nobody ignores it, as `nohup` does.

    Python runs handlers in the main thread alone: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = set_handler(handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unheard_by_children() -> Iterator[None]:
    """Start processes that SIGTERM and SIGHUP do not reach.

    `timeout`, systemd and Slurm send SIGTERM to all processes of a search. Were Ray to end by it, no trial could save
    anything, and the driver would wait a minute for an answer.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_back() -> None:
    """Have the handlers of this process in force again, where a library of C++ has put its own in their place."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)


def hear_again() -> None:
    """Undo in a worker what `unheard_by_children` did for it. Called in the main thread."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class LastingOutput:
    """A stream that goes on as nothing when its reader is gone: a closed terminal, a pipe to `head`."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Be the stream in all else."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write as long as there is a reader."""
        with self._lasting():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as long as there is a reader."""
        with self._lasting():
            self.stream.flush()

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # What is in the buffer goes there too: else Python complains when it ends, and changes the exit status.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
