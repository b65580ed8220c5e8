"""What `search/run.py` does: from the command line to the end of a search, or of a race of finalists."""

import sys
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from typing import Any, TextIO, cast

from rich.console import Console

from search.access import set_up_access
from search.arguments import parse
from search.claim import check_undriven
from search.comparable import check_comparable
from search.ends import BAD_INPUT, BUG, CAUSES, CTRL_C
from search.folders import driven, earlier_name, earlier_runs, give_back, run_folder
from search.heartbeat import Heartbeat
from search.plan import Plan, keep_places, place, stored_plan
from search.results import resume_command, tell_end
from search.signals import EndedBySignalError, LastingOutput, SetUp
from search.validate import LOCAL, read_dataset, validate, validate_data, validate_going_on, validate_submitted
from trainable.artifacts import RunFolder
from trainable.cache import default_cache_dir
from trainable.room import FULL
from trainable.terminal import open_console, open_streams


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status."""
    started = time.monotonic()
    open_streams()
    console = open_console(wide=True, file=cast(TextIO, LastingOutput(sys.stdout)))
    options: dict[str, Any] = {}
    run = status = None
    beats: list[Heartbeat] = []

    def goes_on() -> bool:
        # What extends a run has not done so yet.
        return bool(run and not {"confirm", "extend"} & options.keys() and (run.path / "search.json").exists())

    def told(cause: str) -> str:
        return f"{CAUSES[cause].told}, before the first trial{' of this session' * goes_on()}"

    def given_up(cause: str) -> None:
        for each in beats:
            each.close(CAUSES[cause].name, told(cause))

    def tell_given_up(cause: str) -> None:
        tell_end(console, told(cause), resume_command(run, options) if run and goes_on() else "")

    def last_words(cause: str) -> None:
        tell_given_up(cause)
        if run and not (run.path / "search.json").exists():
            give_back(run)

    set_up = SetUp(given_up, last_words)
    try:
        with set_up.heard():
            options = parse(arguments)
            if "submit" in options:
                validate_submitted(options)
                set_up_access(local=False)
                from search.submit import submit

                return submit(sys.argv[1:] if arguments is None else arguments, options, console)
            run, earlier = run_folder(options), earlier_name(options) is not None
            if earlier:
                check_undriven(run)
            warm = earlier_runs(options)
            for each in warm:
                check_comparable(each)
            stored = stored_plan(run, options) if earlier else None
            validate(options, run, stored)
            if stored:
                validate_going_on(options, run, stored)

            def tell(text: str) -> None:
                console.print(text, highlight=False, soft_wrap=True)

            with ExitStack() as held, set_up.given_up():
                if not earlier:  # the name is taken from now on
                    run, beat = held.enter_context(driven(options, run, tell))
                    beats.append(beat)
                dataset = read_dataset(options, run, stored)
                address = options.get("address", LOCAL)
                set_up_access(local=address == LOCAL)
                if stored:
                    validate_data(run, stored, dataset)
                    # What could be checked without starting or writing anything has been.
                    run, beat = held.enter_context(driven(options, run, tell))
                    beats.append(beat)
                    stored = stored_plan(run, options)
                from search.launch import ray_running

                threading.Thread(target=_import_ahead, daemon=True).start()
                held.enter_context(ray_running(address))
                from search.cluster import find_machine

                machine = find_machine(options.get("gpus"), console)
                check_nodes(run, options, stored, console)
                if stored:
                    keep_places(run, stored)
                    from search.study import mend_records

                    mend_records(run)
                if stored and "confirm" in options:
                    from search.confirm import confirm

                    status = confirm(options, run, stored, dataset, machine, console, beat, started)
                else:
                    from search.session import run_search

                    status = run_search(options, run, stored, warm, dataset, machine, console, beat, started)
            return status
    except (ValueError, OSError) as error:
        said = f"error: {told_error(error, run)}"
        Console(stderr=True).print(said, style="red", highlight=False, soft_wrap=True, markup=False)
        return BAD_INPUT.status
    except KeyboardInterrupt as error:
        if status is not None:
            return status  # all has been told, and Ray's processes end with this one
        cause = error.cause if isinstance(error, EndedBySignalError) else CTRL_C
        tell_given_up(cause)
        return CAUSES[cause].status
    except Exception:
        traceback.print_exc()
        tell_end(console, f"{BUG.told}; nothing was trained")
        return BUG.status


def told_error(error: Exception, run: RunFolder | None) -> str:
    """Return what is said of an error: the system's of a full disk names neither a place nor a way out."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        return str(error)
    where = error.filename or (run.path.parent if run else "a disk")
    return f"{where} has no room left ({error.strerror}): remove what you do not need, or name another --runs-dir"


def check_nodes(run: RunFolder, options: dict[str, Any], stored: Plan | None, console: Console) -> None:
    """Look at every node before anything else is done there; says nothing of a single one that is well."""
    from search.preflight import preflight

    data = stored.data if stored else place(options["data"]) if "data" in options else None
    cache_dir = stored.cache_dir if stored else str((options.get("cache_dir") or default_cache_dir()).absolute())
    root = run.uri.rsplit("/", 1)[0] if run.uri else str(run.path.parent)
    preflight({"storage": root, "cache_dir": cache_dir, "data": data}, console, quiet=True)


def _import_ahead() -> None:
    """Import what comes after Ray's start, some seconds' work, while that waits for its processes."""
    with suppress(Exception):  # at the process's end; what fails otherwise fails again where it is needed
        import search.session  # noqa: F401

