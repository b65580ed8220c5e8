"""What surrounds the trials of a search in its driver: the heartbeat, an orderly end, and patience with full disks."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rich.console import Console

from search.callbacks.trial_states import RecordStates
from search.driver.disk_patience import FullDisk
from search.ending.endings import (
    ASKED,
    BUDGET,
    CAUSES,
    CTRL_C,
    FINISHED,
    LOST,
    OWN_SPACE,
    SIGNALS,
    STUCK,
    SUPERSEDED,
    WAITING,
    End,
    Facts,
    decide,
)
from search.ending.signals import heard
from search.run_state.console import tell
from search.run_state.driver_record import Share
from search.run_state.heartbeat import Heartbeat, request_stop
from search.settings.allocation import Machine, Resources
from search.settings.budget import Clock
from spaces.own import OwnSpaceError
from trainable.run_folder.folders import RunFolder
from trainable.storage.disk_full import wait_for_room
from trainable.storage.remote import Remote

SAVE_S, SIGNAL_SAVE_S = 20.0, 5.0
"""Seconds that running trials get to save before the search ends; where a signal ends it, a kill may follow in 10."""

MARK_S = 5.0
"""Seconds in which what was cut off is marked and told, deaf to further signals."""

LEAVE_S = 2.0
"""Seconds that the main thread gets to end its loop."""


class Driver:
    """Drives a run: tells that it is alive, ends it in order whatever ends it, waits where the disk is full."""

    def __init__(self, run: RunFolder, record: RecordStates, console: Console, clock: Clock | None = None):
        """Prepare to drive a run whose folder exists.

        Args:
            run: to be driven.
            record: knows which trials run.
            console: where to say what happens.
            clock: of the budget; None is none.
        """
        self.run, self.record, self.console, self.clock = run, record, console, clock
        self.cause, self.at_once, self.failed = "", False, False
        """The first thing that ended the run from outside; whether a second signal came; whether the driver failed."""
        self.own_space = ""  # what is said of a function of the user's own that failed
        self.lock, self.ending, self.ended = threading.Lock(), threading.Event(), 0.0
        self.finish: Callable[[], End] = lambda: FINISHED
        record.stuck = lambda: self.end(STUCK)

    def drive(self, on: Share, beat: Heartbeat, trials: Callable[[], None], finish: Callable[[], End]) -> int:
        """Run the trials, see to an orderly end, and return the exit status.

        Args:
            on: what of the machine it is driven on.
            beat: of this process, which has claimed the run.
            trials: returns when there are no more, or soon after SIGUSR1.
            finish: marks what was cut off, says how the run has ended and returns it. It may be called in another
                thread, where the first is lost in a Ray that does not answer any more.

        Raises:
            ValueError, OSError: before the first trial, so that they are no bug: the run cannot be gone on with.
        """
        self.finish, self.beating, timer = finish, beat, None
        disk, over = FullDisk(self.run, self.console), threading.Event()
        before = signal.signal(signal.SIGUSR1, _interrupt)
        wait_for_room(disk.wait)
        try:
            with heard(self._on_signal), disk.watched():
                try:
                    try:
                        self.beating.drive(on, lambda: self.end(ASKED), self._superseded)
                        threading.Thread(target=self._watch_ray, args=(over,), daemon=True).start()
                        timer = self.clock.timer(lambda: self.end(BUDGET)) if self.clock else None
                        trials()
                    except KeyboardInterrupt:
                        pass  # told to leave, or a second signal: what the trials have reported is on disk
                    except Exception as error:
                        self._judge(error)
                except KeyboardInterrupt:
                    pass
                return self._finished()
        finally:
            over.set()
            if timer:
                timer.cancel()
            wait_for_room(None)
            signal.signal(signal.SIGUSR1, before)

    def decide(self, left: int, sound: bool, limited: bool) -> End:
        """Return how the run has ended; see `Facts` for what is given."""
        return decide(
            Facts(
                left=left,
                sound=sound,
                cause=self.cause,
                at_once=self.at_once,
                failed=self.failed,
                own_space=bool(self.own_space),
                waiting=len(self.record.waiting),
                limited=limited,
            )
        )

    def reason(self, end: End) -> str:
        """Return what is said first of an end."""
        why = end.told.format(budget=self.clock.budget.text if self.clock else "")
        if end is OWN_SPACE:
            return f"{why}: {self.own_space}"
        return f"{why} ({list(self.record.waiting.values())[-1]})" if end is WAITING else why

    def end(self, cause: str) -> None:
        """End the run for a reason, if there is none yet: running trials save their state."""
        with self.lock:
            if self.cause or self.ending.is_set():
                return
            self.cause = cause
        threading.Thread(target=self._end_softly, daemon=True).start()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.ending.is_set():
            if time.monotonic() - self.ended > MARK_S:  # all is marked and told, and only storage does not answer
                os._exit(128 + number)
            return
        if self.cause in SIGNALS.values():
            self.at_once = True
            raise KeyboardInterrupt
        self.end(SIGNALS[signal.Signals(number)])

    def _end_softly(self) -> None:
        if self.cause != LOST:
            again = "; Ctrl-C again ends it at once" if self.cause == CTRL_C else ""
            if self.record.running - self.record.halted:
                tell(self.console, f"{self.reason(CAUSES[self.cause])}: running trials save where they are{again}")
            threading.Thread(target=self._ask_trials, daemon=True).start()  # a full disk may keep it for ever
            deadline = time.monotonic() + (SIGNAL_SAVE_S if self.cause in SIGNALS.values() else SAVE_S)
            while self.record.running - self.record.halted and time.monotonic() < deadline:
                if self.at_once or self.cause == LOST or self.ending.wait(0.05):
                    break
        self._leave()

    def _superseded(self) -> None:
        tell(self.console, SUPERSEDED.told, "bold red")
        os._exit(SUPERSEDED.status)  # whatever else it did would be written over the other's

    def _ask_trials(self) -> None:
        with contextlib.suppress(OSError):
            request_stop(self.run)
            if self.run.uri:  # workers look there
                Remote(self.run.uri).push(self.run.path, (self.run.stop_request.name,))

    def _leave(self) -> None:
        """Have the main thread end; where it does not, waiting for a Ray that is gone, do here what it would have."""
        if self.ending.is_set():
            return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if not self.ending.wait(LEAVE_S):
            from search.driver.tune_runner import remove_staging

            status = self._finished()
            remove_staging()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def _watch_ray(self, over: threading.Event) -> None:
        from search.cluster.ray_cluster import RayWatch

        watch = RayWatch()
        while not over.wait(1.0):
            if watch.lost():
                self.end(LOST)

    def _judge(self, error: Exception) -> None:
        """Tell what an error of the main thread is.

        A Ray that is gone, something wrong with the run, a function of the user's own that failed, or a bug.
        """
        from search.cluster.ray_cluster import RayWatch

        if self.cause == LOST or RayWatch().lost():
            self.cause = self.cause or LOST
        elif isinstance(error, ValueError | OSError) and not self.record.started:
            raise error
        elif isinstance(error, OwnSpaceError):
            self.own_space = str(error)
        else:
            self.failed = True
            traceback.print_exception(error)

    def _finished(self) -> int:
        """Finish, once: the thread that comes second waits here until the process ends."""
        with self.lock:
            first, self.ended = not self.ending.is_set(), time.monotonic()
            self.ending.set()
        if not first:
            threading.Event().wait()
        wait_for_room(None)  # what cannot be written now is found by who goes on with the run
        end = self.finish()
        self.beating.close(end.name, self.reason(end))
        return end.status


def _interrupt(*_: object) -> None:
    """End what the main thread does: while trials run, Tune has a handler of its own, which ends its loop in order."""
    raise KeyboardInterrupt


def share_of(machine: Machine, share: Resources) -> Share:
    """Return what `search/status.py` needs to know of the machine, and the job that this process is, if it is one."""
    return Share(
        cores=machine.cores,
        gpus=machine.gpus,
        nodes=len(machine.shares),
        job=submitted_as(),
        concurrent=share.concurrent,
        gpus_per_trial=share.gpus_per_trial,
    )


def submitted_as() -> str | None:
    """Return the name under which Ray Jobs started this process, or None."""
    try:
        return json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"]
    except (KeyError, TypeError, ValueError):
        return None
