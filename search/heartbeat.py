"""Tells from outside whether a run's search is alive, keeps two searches off one run, and carries the wish to stop."""

import contextlib
import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.results import runs_dir_option
from trainable.artifacts import RunFolder
from trainable.files import read_json, write_json
from trainable.remote import Remote

BEAT_S = 5.0
FRESH_S = 20.0
"""A search that was not seen for so long is gone, unless its process runs on this machine."""

RUNNING, GONE, ENDED, UNKNOWN = "running", "gone", "ended", "unknown"


class Heartbeat:
    """While it is entered, `driver.json` in the run folder says who drives the run and when he was seen last."""

    def __init__(
        self, run: RunFolder, facts: dict[str, Any] | None = None, on_stop: Callable[[], None] | None = None
    ):  # fmt: skip
        """Prepare the beat of a run whose folder exists; see `drive` for the rest."""
        self.run, self.remote = run, Remote(run.uri) if run.uri else None
        self.facts = {"host": socket.gethostname(), "pid": os.getpid(), "process_started": process_start(os.getpid()),
                      "started": time.time(), **(facts or {})}  # fmt: skip
        self.on_stop = on_stop
        self.over, self.lock = threading.Event(), threading.Lock()

    def drive(self, facts: dict[str, Any], on_stop: Callable[[], None]) -> None:
        """Say what is driven on what, for `search/status.py`, and what to call once when it is asked to stop.

        A wish to stop that came before is heard then. `on_stop` is called in a thread of its own.
        """
        self.facts |= facts
        self.on_stop = on_stop
        self._write()

    def __enter__(self) -> "Heartbeat":
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
        """Say that the run is driven no more, by which end of `search/ends.py`, and that in words; once."""
        if self.over.is_set():
            return
        self.over.set()
        self.thread.join(timeout=BEAT_S)
        self._write(ended=time.time(), **({"end": end, "why": why} if end else {}))
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
                self._write()
                written = time.monotonic()
            if self.on_stop and not asked and self.run.stop_requested():
                asked = True
                threading.Thread(target=self.on_stop, daemon=True).start()

    def _write(self, **more: Any) -> None:
        # A full disk, or storage that does not answer, is told by others; the next beat tries again.
        # The beat and the driver both write; two at once would take each other's temporary file away.
        with contextlib.suppress(OSError), self.lock:
            # Not through `write_json`, which would wait for the disk and for room on it: this is stale in seconds.
            path = driver_file(self.run)
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text(json.dumps({**self.facts, "seen": time.time(), **more}))
            temporary.replace(path)
            if self.remote:
                self.remote.push(self.run.path, (path.name,))
                self.remote.pull(self.run.path, (self.run.stop_request.name,))


def driver_file(run: RunFolder) -> Path:
    """Return where the heartbeat is."""
    return run.path / "driver.json"


def driver(run: RunFolder) -> dict[str, Any]:
    """Return what the heartbeat last said, {} if there never was one or it cannot be read."""
    try:
        found = read_json(driver_file(run))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("seen"), int | float) else {}


def driver_state(run: RunFolder) -> str:
    """Return whether the run's search is running, ended in order, is gone without a word, or never was heard of."""
    told = driver(run)
    if not told:
        return UNKNOWN
    if "ended" in told:
        return ENDED
    here = told.get("host") == socket.gethostname()
    if here and told.get("process_started") is not None:
        return RUNNING if process_start(told.get("pid", -1)) == told["process_started"] else GONE
    return RUNNING if time.time() - told["seen"] < FRESH_S else GONE


def claimed(run: RunFolder) -> Heartbeat:
    """Return the heartbeat of a run that is to go on, to be entered at once: from then on no other search drives it.

    Raises:
        ValueError: one does.
    """
    told = driver(run)
    if driver_state(run) == RUNNING and told.get("pid") != os.getpid():
        raise ValueError(
            f"run {run.path.name} is being driven by process {told['pid']} on {told['host']}, last seen "
            f"{max(time.time() - told['seen'], 0):.0f} s ago; stop it with {stop_command(run)}, or wait"
        )
    return Heartbeat(run)


def stop_command(run: RunFolder) -> str:
    """Return the command that has a run's search save everything and stop."""
    return shlex.join(["python", "search/status.py", "--stop", run.path.name, *runs_dir_option(run)])


def request_stop(run: RunFolder) -> None:
    """Ask whoever drives the run to save everything and stop."""
    write_json(run.stop_request, {"asked": time.time(), "by": f"{socket.gethostname()} {os.getpid()}"})


def process_start(pid: int) -> int | None:
    """Return when a process of this machine began, in clock ticks since its boot, or None if there is no such one."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return None
