"""What `search/run.py` does: from the command line to the end of a search, or of a race of finalists."""

import sys
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from typing import TextIO, cast

from rich.console import Console

from search.cluster.auth_token import set_up_access
from search.ending.endings import BAD_INPUT, BUG, CAUSES, CTRL_C
from search.ending.signals import EndedBySignalError, LastingOutput, SetUp
from search.preparation.stored_plan import keep_places, stored_plan
from search.run_state.chain_record import begins_chain
from search.run_state.driver_claim import check_undriven
from search.run_state.heartbeat import Heartbeat
from search.run_state.leaderboard import resume_command, tell_end
from search.run_state.run_location import driven, earlier_name, earlier_runs, give_back, run_folder
from search.session.command_checks import (
    read_dataset,
    validate,
    validate_data,
    validate_going_on,
    validate_submitted,
)
from search.session.surroundings import Session
from search.settings.arguments import parse
from search.settings.plan import Plan, place
from search.settings.settings import LOCAL, Settings
from search.tuning.compatibility import check_comparable
from trainable.machine.command import print_error, told
from trainable.machine.terminal import open_console, open_streams
from trainable.run_folder.folders import RunFolder
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.disk_full import FULL


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status."""
    open_streams()
    started = time.monotonic()
    command: Command | None = None
    try:
        command = Command(parse(sys.argv[1:] if arguments is None else arguments), started)
        return carry_out(command)
    except (ValueError, OSError) as error:
        print_error(told_error(error, command.run if command else None))
        return BAD_INPUT.status


def carry_out(command: "Command") -> int:
    """Carry a command out, hear signals meanwhile, and return the exit status.

    Raises:
        ValueError, OSError: what is asked cannot be done; nothing was trained.
    """
    set_up = SetUp(command.give_up, command.last_words)
    try:
        with set_up.heard():
            return command.carry_out(set_up)
    except (ValueError, OSError):
        raise
    except KeyboardInterrupt as error:
        if command.status is not None:
            return command.status  # all has been told, and Ray's processes end with this one
        cause = error.cause if isinstance(error, EndedBySignalError) else CTRL_C
        command.tell_given_up(cause)
        return CAUSES[cause].status
    except Exception:
        traceback.print_exc()
        tell_end(command.console, f"{BUG.told}; nothing was trained")
        return BUG.status


class Command:
    """What is asked for, and how far it has come."""

    def __init__(self, settings: Settings, started: float | None = None):
        """Begin with what is asked for.

        Args:
            settings: checked by themselves.
            started: when the command began, on the monotonic clock; now if not given.
        """
        self.settings = settings
        self.started = time.monotonic() if started is None else started
        self.console = open_console(wide=True, file=cast(TextIO, LastingOutput(sys.stdout)))
        self.run: RunFolder | None = None
        self.beat: Heartbeat | None = None  # of this process, once it has claimed the run
        self.status: int | None = None  # once all has been told

    def carry_out(self, set_up: SetUp) -> int:
        """Do what is asked and return the exit status.

        Args:
            set_up: hears signals until the first trial.

        Raises:
            ValueError, OSError: what is asked cannot be done; nothing was trained.
            EndedBySignalError: a signal came before the first trial.
        """
        settings = self.settings
        if settings.submit is not None:
            validate_submitted(settings)
            set_up_access(local=False)
            from search.cluster.job_submission import submit

            return submit(settings, self.console)
        if settings.promote is not None:
            from search.phases.promote import promotion  # imports SciPy

            self.settings = settings = promotion(settings)
        if begins_chain(settings):
            from search.phases.chain import carry_through  # imports SciPy

            self.status, self.run = carry_through(settings, self.console)
            return self.status
        self.run = run = run_folder(settings)
        earlier = earlier_name(settings) is not None
        if earlier:
            check_undriven(run)
        warm = earlier_runs(settings)
        for earlier_run in warm:
            check_comparable(earlier_run)
        stored = stored_plan(run, settings) if earlier else None
        validate(settings, run, stored)
        if stored:
            validate_going_on(settings, run, stored)
        with ExitStack() as held, set_up.given_up():
            return self._drive(held, run, warm, stored)

    def _drive(self, held: ExitStack, run: RunFolder, warm: list[RunFolder], stored: Plan | None) -> int:
        """Claim the run, start Ray, and search or confirm; `held` gives all of it back."""
        settings = self.settings
        if not stored:  # the name is taken from now on
            run, beat = self._claim(held, run)
        dataset = read_dataset(settings, run, stored)
        set_up_access(local=settings.address == LOCAL)
        if stored:
            validate_data(run, stored, dataset)
            # What could be checked without starting or writing anything has been.
            run, beat = self._claim(held, run)
            stored = stored_plan(run, settings)
        from search.driver.tune_runner import ray_running

        threading.Thread(target=_import_ahead, daemon=True).start()
        held.enter_context(ray_running(settings.address))
        from search.cluster.ray_cluster import find_machine

        machine = find_machine(settings.gpus, self.console)
        check_nodes(run, settings, stored, self.console)
        if stored:
            keep_places(run, stored)
            from search.tuning.study import mend_records

            mend_records(run)
        session = Session(settings, run, dataset, machine, self.console, beat, self.started)
        if stored and settings.confirm is not None:
            from search.session.confirming import confirm

            self.status = confirm(session, stored)
        else:
            from search.session.searching import run_search

            self.status = run_search(session, stored, warm)
        return self.status

    def _claim(self, held: ExitStack, run: RunFolder) -> tuple[RunFolder, Heartbeat]:
        def tell(message: str) -> None:
            self.console.print(message, highlight=False, soft_wrap=True)

        self.run, self.beat = held.enter_context(driven(self.settings, run, tell))
        return self.run, self.beat

    def give_up(self, cause: str) -> None:
        """Have the run's record say how it ended, before what was begun is given back."""
        if self.beat:
            self.beat.close(CAUSES[cause].name, self._reason(cause))

    def tell_given_up(self, cause: str) -> None:
        """Say that a signal came before the first trial, and which command goes on, if one does."""
        tell_end(self.console, self._reason(cause), self._resume())

    def last_words(self, cause: str) -> None:
        """Say it where nothing else can be done any more, and leave no name taken that no run has come of."""
        self.tell_given_up(cause)
        if self.run and not (self.run.path / "search.json").exists():
            give_back(self.run)

    def _reason(self, cause: str) -> str:
        return f"{CAUSES[cause].told}, before the first trial{' of this session' if self._resume() else ''}"

    def _resume(self) -> str:
        """Return the command that goes on, empty if there is none: what extends a run has not done so yet."""
        if not self.run or self.settings.given(("confirm", "extend")) or not (self.run.path / "search.json").exists():
            return ""
        return resume_command(self.run, self.settings)


def told_error(error: Exception, run: RunFolder | None) -> str:
    """Return what is said of an error: the system's of a full disk names neither a place nor a way out."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        return told(error)
    where = error.filename or (run.path.parent if run else "a disk")
    return f"{where} has no room left ({error.strerror}): remove what you do not need, or name another --runs-dir"


def check_nodes(run: RunFolder, settings: Settings, stored: Plan | None, console: Console) -> None:
    """Look at every node before anything else is done there; says nothing of a single one that is well."""
    from search.cluster.preflight_checks import preflight

    data = stored.data if stored else place(settings.data) if settings.data is not None else None
    cache_dir = stored.cache_dir if stored else str((settings.cache_dir or default_cache_dir()).absolute())
    root = run.uri.rsplit("/", 1)[0] if run.uri else str(run.path.parent)
    preflight({"storage": root, "cache_dir": cache_dir, "data": data}, console, quiet=True)


def _import_ahead() -> None:
    """Import what comes after Ray's start, some seconds' work, while that waits for its processes."""
    with suppress(Exception):  # at the process's end; what fails otherwise fails again where it is needed
        import search.session.searching  # noqa: F401
