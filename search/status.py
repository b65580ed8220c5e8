"""Shows how searches stand, from anywhere with access to their run folders: python search/status.py [NAME]."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from search.phases.tables import gains_table
from search.run_state.chain_record import phase_run
from search.run_state.heartbeat import RUNNING, driver_state, driver_states, request_stop
from search.run_state.run_names import check_run_exists, claimed_in, runs_in
from search.run_state.run_status import LIVE, NOTHING, PREPARING, Status, overview, page, run_beside, status_of
from trainable.machine.called_as import subcommand
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.run_folder.folders import RunFolder
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.remote import Remote, is_uri, working_copy

SCRIPT = "search/status.py"
STOP_S = 60.0
"""Seconds that a search is given to end once it was asked to."""


def stop(run: RunFolder, console: Console) -> int:
    """Ask a run's search to stop and wait until it has; returns the exit status."""
    chain = status_of(run).chain
    if chain and chain.carried:  # what trains now is asked: the chain ends with it
        run = phase_run(run, chain.to_come[0])
    if driver_state(run, _refresh(run.uri, run.path)) != RUNNING:
        if chain and chain.carried:
            hint = f"Ctrl-C or SIGTERM to process {chain.by['pid']} on {chain.by['host']} ends it"
            message = f"phase {chain.to_come[0]} trains nothing now that could be asked to stop: {hint}"
        else:
            message = f"nobody drives run {run.path.name}: {status_of(run).told}"
        console.print(message, highlight=False, soft_wrap=True)
        return 1 if chain and chain.carried else 0
    request_stop(run)
    if run.uri:
        Remote(run.uri).push(run.path, (run.stop_request.name,))
    prepares = status_of(run).state == PREPARING
    how = "it does once it is prepared" if prepares else "its running trials save their epoch"
    console.print(f"asked run {run.path.name} to stop; {how}", highlight=False)
    deadline = time.monotonic() + STOP_S
    while driver_state(run) == RUNNING and time.monotonic() < deadline:
        time.sleep(0.5)
        if run.uri:
            bring(Remote(run.uri), run.path)
    status = status_of(run)
    console.print(page(status, console), soft_wrap=True)
    if driver_state(run) == RUNNING:
        console.print(f"it has not ended in {STOP_S:.0f} s; it stays asked to, look again later", style="red")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    stops = subcommand(SCRIPT) == "stop"
    description = "Have a search save everything and stop." if stops else "How searches stand."
    parser = Parser(SCRIPT, description=description, allow_abbrev=False)
    if stops:
        parser.add_argument("name", metavar="NAME", help="of the run")
    else:
        parser.add_argument("name", nargs="?", metavar="NAME", help="of a run (default: all, a line each)")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="where the runs are (default runs)")
    for name, description in (
        ("--stop", "ask its search to save everything and stop"),
        ("--watch", "on a terminal: go on showing until it ends"),
        ("--json", "for scripts"),
    ):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS if stops else description)
    return parser


@command(_parser, interrupted="")
def main(options: argparse.Namespace) -> int:
    """Show what was asked for; returns the exit status."""
    console = open_console(wide=True, highlight=False)
    root = _root(options.runs_dir)
    if options.name is None:
        return _all(root, options, console)
    run = RunFolder(root / options.name, f"{options.runs_dir}/{options.name}" if is_uri(options.runs_dir) else None)
    # What is damaged is shown as that, and what is being prepared has no search.json yet.
    if not (run.path / "search.json").exists() and status_of(run).state != PREPARING:
        check_run_exists(run, options.name, root)
    if options.stop:
        return stop(run, console)
    return _one(run, options, console)


def _root(runs_dir: str) -> Path:
    """Return the folder of the runs; of those at a URI, the small files are brought to this machine."""
    if is_uri(runs_dir):
        root = working_copy(f"{runs_dir}/any", default_cache_dir()).parent
        bring(Remote(runs_dir), root)
        return root
    root = Path(runs_dir).absolute()
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; name the one that holds the runs by --runs-dir")
    return root


def bring(remote: Remote, root: Path) -> None:
    """Bring what of the runs is read here."""
    small = [
        name
        for name in remote.files()
        if name.endswith(
            ("search.json", "driver.json", "stop.json", "trial.json", "curve.csv", "phases.json", "hours.json")
        )
    ]
    remote.pull(root, small)
    for path in [*root.glob("stop.json"), *root.glob("*/stop.json")]:
        if str(path.relative_to(root)) not in small:
            path.unlink(missing_ok=True)  # the search has heard it, and taken it away


def _refresh(uri: str | None, root: Path) -> Callable[[], None]:
    """Return what brings what is read of a URI once more."""
    return (lambda: bring(Remote(uri), root)) if uri and is_uri(uri) else (lambda: None)


def _all(root: Path, options: argparse.Namespace, console: Console) -> int:
    if options.stop or options.watch:
        raise ValueError("--stop and --watch are for one run; name it")
    folders = [RunFolder(path) for path in sorted({*runs_in(root), *claimed_in(root)})]
    beats = driver_states(folders, _refresh(options.runs_dir, root))
    shown = [status_of(run, beat) for run, beat in zip(folders, beats, strict=True)]
    statuses = [status for status in shown if status.state != NOTHING]
    if options.json:
        sys.stdout.write(json.dumps([asdict(status) for status in statuses], indent=2) + "\n")
    elif statuses:
        console.print(overview(statuses))
    else:
        console.print(f"no runs in {root}", soft_wrap=True)
    return 0


def _one(run: RunFolder, options: argparse.Namespace, console: Console) -> int:
    status = _with_phase(run, status_of(run, driver_state(run, _refresh(run.uri, run.path))))
    if options.json:
        sys.stdout.write(json.dumps(asdict(status), indent=2) + "\n")
    elif options.watch and console.is_terminal:
        with Live(_whole(status, console), console=console) as live:
            while status.state in LIVE:
                time.sleep(2)
                for folder in filter(None, (run, run_beside(run, status))):
                    if folder.uri:
                        with contextlib.suppress(OSError):  # what was brought last stays on the screen
                            bring(Remote(folder.uri), folder.path)
                status = _with_phase(run, status_of(run))
                live.update(_whole(status, console))
    else:
        console.print(_whole(status, console), soft_wrap=True)
    return 1 if status.state in ("damaged", NOTHING) else 0


def _with_phase(run: RunFolder, status: Status) -> Status:
    """Return a run's status with that of the run that trains for it now, where its phase has one of its own."""
    beside = run_beside(run, status)
    if beside is None or driver_state(beside, _refresh(beside.uri, beside.path)) != RUNNING:
        return status
    return replace(status, phase=status_of(beside, RUNNING))


def _whole(status: Status, console: Console) -> Group:
    """Return how a run stands, with the phases of its way to a submission and what trains for it now."""
    phases = [gains_table(status.chain)] if status.chain else []
    return Group(page(status, console), *phases, *([page(status.phase, console)] if status.phase else []))


if __name__ == "__main__":
    sys.exit(main())
