"""One driver for each run: who creates the next of its claim files drives it, as long as there is no higher one.

A claim file is created only where there was none, which the storage decides, so of those who start at the same moment
one wins, wherever they are. Whether the last one to claim still lives is told by its process where that can be seen
from here; elsewhere by whether its heartbeat changes while it is watched, on the watcher's own clock.
"""

import contextlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from search.run_state.driver_record import DRIVER, DriverRecord
from search.run_state.leaderboard import runs_dir_option
from trainable.machine.called_as import command_line
from trainable.run_folder.folders import RunFolder
from trainable.storage.exclusive_file import create, create_at
from trainable.storage.record_checks import DAMAGE
from trainable.storage.remote import Remote

BEAT_S = 5.0
WATCH_S = 20.0
"""Seconds for which a heartbeat is watched: four beats."""

CLAIM = re.compile(r"\.driver-(\d+)\.claim")

Tell = Callable[[str], None]


class DrivenError(ValueError):
    """Another search drives the run."""


class Claim:
    """This process's hold of a run."""

    def __init__(self, run: RunFolder, number: int):
        self.run, self.number = run, number

    def lost(self) -> bool:
        """Tell whether another search has taken the run over, as it may where this one was frozen for a while."""
        return max(_numbers(self.run), default=0) > self.number


def claim_run(run: RunFolder, tell: Tell = lambda message: None) -> Claim:
    """Claim a run whose folder exists.

    Args:
        run: to drive.
        tell: told before a heartbeat is watched, which takes seconds.

    Raises:
        DrivenError: another search drives it.
        OSError: the storage cannot be reached or written to.
    """
    watched = False
    while True:
        last, holder = _holder(run)
        if (last or holder.known) and holder.ended is None:
            alive = _lives(run, holder)
            if alive is None:
                if not watched:
                    where = f"process {holder.pid} on {holder.host}"
                    tell(f"{where} drove run {run.path.name}: seeing for {WATCH_S:.0f} s whether it still does")
                watched, alive = True, changes([run], WATCH_S)[0]
                holder = _holder(run)[1]
                if holder.ended is not None:
                    continue
            if alive:
                raise DrivenError(_driven(run, holder))
        if _create(run, last + 1):
            return Claim(run, last + 1)


def check_undriven(run: RunFolder) -> None:
    """Refuse at once a run that another search drives, as far as that shows without watching it; nothing is claimed.

    Raises:
        DrivenError: another search drives it.
    """
    last, holder = _holder(run)
    if (last or holder.known) and holder.ended is None and _lives(run, holder):
        raise DrivenError(_driven(run, holder))


def changes(runs: list[RunFolder], seconds: float, refresh: Callable[[], None] = lambda: None) -> list[bool]:
    """Watch heartbeats until all have changed, or for so many seconds; returns which have.

    Args:
        runs: whose heartbeats.
        seconds: on this process's monotonic clock.
        refresh: brings what is at a URI, where it is not read there.
    """
    before, changed = [_pulse(run) for run in runs], [False] * len(runs)
    deadline = time.monotonic() + seconds
    while not all(changed) and time.monotonic() < deadline:
        time.sleep(2.0 if any(run.uri for run in runs) else 0.5)
        refresh()
        changed = [done or _pulse(run) != pulse for done, run, pulse in zip(changed, runs, before, strict=True)]
    return changed


def heartbeat(run: RunFolder) -> DriverRecord:
    """Return what the heartbeat last said; nothing is known if there never was one or it cannot be read."""
    record = _read(run, DRIVER)
    return DriverRecord() if record.seen is None else record


def forget(run: RunFolder) -> None:
    """Remove all claims of a folder that no run has come of."""
    for number in _numbers(run):
        _delete(run, _name(number))


def is_claim(name: str) -> bool:
    """Tell whether a file of a run's folder is one of these."""
    return bool(CLAIM.fullmatch(name))


def as_driver(run: RunFolder) -> DriverRecord:
    """Return what tells this process, driving this folder, from any other."""
    return replace(DriverRecord.here(), folder=None if run.uri else run.path.stat().st_ino)


def _holder(run: RunFolder) -> tuple[int, DriverRecord]:
    """Return the highest claim's number, 0 without one, and what is known of who made it."""
    last, record = max(_numbers(run), default=0), heartbeat(run)
    return last, record if last <= record.claim else _read(run, _name(last))


def _lives(run: RunFolder, holder: DriverRecord) -> bool | None:
    """Tell whether the process that claimed a run lives; None: it cannot be known from here."""
    alive = holder.alive()
    if alive and not run.uri and holder.folder not in (None, run.path.stat().st_ino):
        return False  # it does, and drives what this folder is a copy of
    return alive


def _driven(run: RunFolder, holder: DriverRecord) -> str:
    ago = f", last seen {max(time.time() - holder.seen, 0):.0f} s ago" if holder.seen is not None else ""
    return (
        f"run {run.path.name} is being driven by process {holder.pid} on {holder.host}{ago}; stop it "
        f"with {command_line('search/status.py', '--stop', run.path.name, *runs_dir_option(run))}, or wait"
    )


def _create(run: RunFolder, number: int) -> bool:
    """Create a claim where there is none; tells whether this process now holds the run."""
    content = json.dumps({**as_driver(run).content(), "token": secrets.token_hex(16)}).encode()
    name = _name(number)
    if not (create_at(Remote(run.uri), name, content) if run.uri else create(run.path, name, content)):
        return False
    # Who was slow may have made a number again that a later holder has removed: the highest one is never removed.
    numbers = _numbers(run)
    if max(numbers, default=0) > number:
        _delete(run, name)
        return False
    for other in [] if run.uri else numbers:  # at a URI they stay: to remove an object takes a right that few are given
        if other < number:
            _delete(run, _name(other))
    return True


def _name(number: int) -> str:
    return f".driver-{number}.claim"


def _numbers(run: RunFolder) -> list[int]:
    if run.uri:
        names = Remote(run.uri).names()
    else:
        names = [path.name for path in run.path.iterdir()] if run.path.is_dir() else []
    return [int(claim[1]) for name in names if (claim := CLAIM.fullmatch(name))]


def _read(run: RunFolder, name: str) -> DriverRecord:
    with contextlib.suppress(*DAMAGE):
        return DriverRecord.of(json.loads(Remote(run.uri).read(name) if run.uri else (run.path / name).read_bytes()))
    return DriverRecord()


def _delete(run: RunFolder, name: str) -> None:
    with contextlib.suppress(OSError):
        Remote(run.uri).delete(name) if run.uri else (run.path / name).unlink(missing_ok=True)


def _pulse(run: RunFolder) -> tuple[Any, ...]:
    """Return what differs from beat to beat."""
    record = heartbeat(run)
    return max(_numbers(run), default=0), record.beat, record.seen, record.ended
