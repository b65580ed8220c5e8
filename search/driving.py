"""What surrounds the trials of a search in its driver: the heartbeat, an orderly end, and patience with full disks."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from search.budget import Clock
from search.heartbeat import Heartbeat, request_stop
from search.machine import Machine, Resources
from search.record import RecordStates
from trainable.artifacts import RunFolder
from trainable.remote import Remote
from trainable.room import wait_for_room

SAVE_S = 20.0
"""Seconds that running trials get to save their epoch before the search ends: a spot notice gives 30 in all."""

LOW_BYTES = 20_000_000
"""Free space below which a disk counts as full, where no trial has shown yet what its state needs."""


@contextmanager
def driving(
    run: RunFolder, record: RecordStates, facts: dict[str, Any], console: Console, beat: Heartbeat,
    clock: Clock | None = None,
) -> Iterator[None]:
    """Drive a run: tell that it is alive, save everything on SIGTERM or a stop request, wait where the disk is full.

    Args:
        run: whose folder exists.
        record: knows which trials run.
        facts: what is driven on what.
        console: where to say what happens.
        beat: of this process, which has claimed the run.
        clock: of the budget; None is none.
    """

    def end_softly() -> None:
        why = f"{clock.budget.text} is all but spent" if clock and clock.over else "asked to stop"
        tell(console, f"{why}: running trials save their epoch")
        if run.uri:  # a signal's wish is known here alone
            with contextlib.suppress(OSError):
                Remote(run.uri).push(run.path, (run.stop_request.name,))
        deadline = time.monotonic() + SAVE_S
        while record.running - record.halted and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    def on_lost() -> None:
        tell(console, f"another search took run {run.path.name} over while this one was frozen: it ends", "bold red")
        os._exit(1)  # whatever else it did would be written over the other's

    def on_signal(*_: object) -> None:
        try:
            request_stop(run)
        except OSError:
            os.kill(os.getpid(), signal.SIGINT)

    def on_spent() -> None:
        if clock:
            clock.over = True
        on_signal()

    disk, timer = FullDisk(run, console), clock.timer(on_spent) if clock else None
    before = signal.signal(signal.SIGTERM, on_signal)
    wait_for_room(disk.wait)
    try:
        with disk.watched():
            beat.drive(facts, end_softly, on_lost)
            yield
    finally:
        if timer:
            timer.cancel()
        wait_for_room(None)
        signal.signal(signal.SIGTERM, before)


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
            text = f"the disk of {path} is full ({free:,.0f} MB free): trials wait, and go on when there is room"
            tell(self.console, text, "bold red")
        else:
            tell(self.console, "there is room on the disk again: trials go on", "bold")


def driver_facts(machine: Machine, share: Resources) -> dict[str, Any]:
    """Return what `search/status.py` needs to know of the machine, and the job that this process is, if it is one."""
    return {"cores": machine.cores, "gpus": machine.gpus, "nodes": len(machine.shares), "job": submitted_as(),
            "concurrent": share.concurrent, "gpus_per_trial": share.gpus_per_trial}  # fmt: skip


def submitted_as() -> str | None:
    """Return the name under which Ray Jobs started this process, or None."""
    try:
        return json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"]
    except (KeyError, TypeError, ValueError):
        return None


def tell(console: Console, text: str, style: str = "yellow") -> None:
    """Print one line with the time."""
    console.print(f"{time.strftime('%H:%M:%S')} {text}", style=style, highlight=False, soft_wrap=True)
