"""Tells from outside whether a run's search is alive, and carries the wish that it stop."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.run_state import driver_claim as claim
from search.run_state.driver_claim import BEAT_S, Claim, Tell, as_driver, changes, claim_run
from search.run_state.driver_record import DRIVER, DriverRecord, Share
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.remote import Remote

FRESH_S = 20.0
"""A search that was not seen for so long is shown as gone, unless its process runs on this machine."""

SHOWN_S = 86_400.0
"""A heartbeat that is older than any clock is wrong by is shown as gone without being watched."""

RUNNING, GONE, ENDED, UNKNOWN = "running", "gone", "ended", "unknown"


class Heartbeat:
    """While it is entered, this process drives the run, and `driver.json` says so and when it was seen last."""

    def __init__(
        self,
        run: RunFolder,
        share: Share | None = None,
        on_stop: Callable[[], None] | None = None,
        held: Claim | None = None,
    ):
        """Prepare the beat of a run whose folder exists; see `drive` for the rest.

        Args:
            run: to drive; on entering it is claimed, unless it is held.
            share: of the machine, for `search/status.py`.
            on_stop: called in a thread once it is asked to stop.
            held: this process's claim of the run.
        """
        self.run, self.remote = run, Remote(run.uri) if run.uri else None
        self.record = replace(as_driver(run), started=time.time(), **vars(share or Share()))
        self.on_stop, self.held, self.beats = on_stop, held, 0
        self.on_lost: Callable[[], None] = lambda: None
        """Called in a thread, once, where another search has taken the run over."""
        self.over, self.lock = threading.Event(), threading.Lock()

    def drive(self, share: Share, on_stop: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Say what is driven on what, for `search/status.py`, and what to call when it is asked to stop, or lost.

        A wish to stop that came before is heard then. Both are called in a thread.
        """
        self.record = replace(self.record, **vars(share))
        self.on_stop, self.on_lost = on_stop, on_lost
        self._write()

    def __enter__(self) -> "Heartbeat":
        self.held = self.held or claim_run(self.run)
        self._forget_stop()
        # Always there while somebody looks for it: NFS remembers for half a minute that a file was not.
        write_json(self.run.stop_request, {"asked": None})
        self._write()
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()

    def close(self, end: str = "", why: str = "") -> None:
        """Say that the run is driven no more, by which end of `search/ending/endings.py`, and that in words; once."""
        if self.over.is_set():
            return
        self.over.set()
        self.thread.join(timeout=BEAT_S)
        if self.run.path.is_dir() and self.held and not self._lost():
            self._write(ended=time.time(), end=end or None, why=why or None)
            self._forget_stop()

    def _forget_stop(self) -> None:
        self.run.stop_request.unlink(missing_ok=True)
        if self.remote:
            with contextlib.suppress(OSError):
                if self.remote.exists(self.run.stop_request.name):
                    self.remote.write(self.run.stop_request.name, b'{"asked": null}')

    def _beat(self) -> None:
        asked, written = False, time.monotonic()
        while not self.over.wait(1.0):
            if time.monotonic() - written >= BEAT_S:
                if self._lost():  # nothing is written any more: it would be over the other's
                    self.on_lost()
                    return
                self._write()
                written = time.monotonic()
            if self.on_stop and not asked and self.run.stop_requested():
                asked = True
                threading.Thread(target=self.on_stop, daemon=True).start()

    def _lost(self) -> bool:
        with contextlib.suppress(OSError):  # storage that does not answer is told by others
            return self.held is not None and self.held.lost()
        return False

    def _write(self, **details: Any) -> None:
        # A full disk, or storage that does not answer, is told by others; the next beat tries again.
        # The beat and the driver both write; two at once would take each other's temporary file away.
        with contextlib.suppress(OSError), self.lock:
            # Not through `write_json`, which would wait for the disk and for room on it: this is stale in seconds.
            path = driver_file(self.run)
            temporary = path.with_name(f".{path.name}.tmp")
            self.beats += 1
            number = self.held.number if self.held else 0
            record = replace(self.record, claim=number, beat=self.beats, seen=time.time(), **details)
            temporary.write_text(json.dumps(record.content()))
            temporary.replace(path)
            if self.remote:
                self.remote.push(self.run.path, (path.name,))
                self.remote.pull(self.run.path, (self.run.stop_request.name,))


def driver_file(run: RunFolder) -> Path:
    """Return where the heartbeat is."""
    return run.path / DRIVER


def driver(run: RunFolder) -> DriverRecord:
    """Return what the heartbeat last said here; nothing is known if there never was one or it cannot be read."""
    return claim.heartbeat(RunFolder(run.path))


def driver_states(runs: list[RunFolder], refresh: Callable[[], None] = lambda: None) -> list[str]:
    """Return whether each run's search is running, ended in order, is gone without a word, or never was heard of.

    A heartbeat of elsewhere that is not of a moment ago, by the clocks there and here, is watched for another beat: one
    in the future is no sign of life, and an old one none of death.

    Args:
        runs: to look at, by their folders here.
        refresh: brings the heartbeats of runs that are at a URI.
    """
    local = [RunFolder(run.path) for run in runs]
    states = [_state(run) for run in local]
    unclear = [run for run, state in zip(local, states, strict=True) if state is None]
    changed = dict(zip([run.path for run in unclear], changes(unclear, BEAT_S + 2, refresh), strict=True))
    return [state or (RUNNING if changed[run.path] else GONE) for run, state in zip(local, states, strict=True)]


def driver_state(run: RunFolder, refresh: Callable[[], None] = lambda: None) -> str:
    """Return the same of one run."""
    return driver_states([run], refresh)[0]


def _state(run: RunFolder) -> str | None:
    """Return how a run's search is as far as its heartbeat says it at once."""
    record = driver(run)
    if record.seen is None:
        return UNKNOWN
    if record.ended is not None:
        return ENDED
    alive, age = record.alive(), time.time() - record.seen
    if alive is not None:
        return RUNNING if alive else GONE
    if 0 <= age < FRESH_S:
        return RUNNING
    return GONE if age > SHOWN_S else None


def claimed(run: RunFolder, tell: Tell = lambda message: None) -> Heartbeat:
    """Claim a run and return its heartbeat, to be entered at once: from then on no other search drives it.

    Raises:
        ValueError: one does.
    """
    return Heartbeat(run, held=claim_run(run, tell))


def request_stop(run: RunFolder) -> None:
    """Ask whoever drives the run to save everything and stop."""
    write_json(run.stop_request, {"asked": time.time(), "by": f"{socket.gethostname()} {os.getpid()}"})
