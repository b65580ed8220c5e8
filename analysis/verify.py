"""Checks the files of a run against their checksums: python analysis/verify.py --run runs/NAME."""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import safetensors

from analysis.results.verify_records import NEEDED, record_problems, study_problems
from trainable.counts import counted
from trainable.machine.command import Parser, command
from trainable.machine.terminal import error_console, open_console
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import ENDED
from trainable.storage.atomic_write import read_json
from trainable.storage.checksums import file_facts
from trainable.storage.record_checks import DAMAGE, NewerFormatError
from trainable.storage.remote import run_option

OPENERS = {
    ".json": read_json,
    ".npz": lambda path: [array.shape for array in np.load(path, allow_pickle=False).values()],
    ".parquet": pyarrow.parquet.read_metadata,
    ".safetensors": lambda path: safetensors.safe_open(path, framework="numpy").__enter__().keys(),
}
"""How a file without a checksum is looked at, by its suffix."""

OTHERS = ("driver.json", "hours.json", "priors.json", "phases.json", "memory.json", "ensemble/ensemble.json")
"""Records of a run that it may have."""


def verify(run: RunFolder) -> tuple[int, list[str]]:
    """Return how many files were checked and what is wrong with a run, the file with it.

    Files of trials that have ended are compared with the size and checksum in their trial.json; of others and of the
    run itself it is seen that they can be read, and that study and folders have the same trials.
    """
    problems: list[str] = []
    checked = 0
    trials, ignored = run.begun(), run.ignored()
    folders = trials + [
        TrialFolder(path)
        for folder in trials
        for path in sorted(folder.path.glob("folds/*"))
        if path.is_dir() and path not in ignored
    ]
    folders += [run.refit] if run.refit.path.exists() else []
    for folder in folders:
        count, faults = _verify_folder(folder)
        checked += count
        problems += [f"{folder.path.relative_to(run.path)}/{fault}" for fault in faults]
    problems += [*record_problems(run), *study_problems(run, trials)]
    checked += len(NEEDED) + run.study.exists()
    for name in OTHERS:
        if (run.path / name).exists():
            checked += 1
            problems += [f"{name}: {fault}" for fault in _unreadable(run.path / name)]
    problems += [
        f"{path.relative_to(run.path)}: left behind by a process that was killed while it wrote; remove it"
        for path in sorted(run.path.rglob(".*.tmp"))
    ]
    return checked, problems


def _verify_folder(folder: TrialFolder) -> tuple[int, list[str]]:
    try:
        status = folder.status()
        state, facts = status.state, status.files
    except FileNotFoundError:
        return 1, ["trial.json: is missing"]
    except NewerFormatError as error:
        return 1, [f"trial.json: {error}"]
    except DAMAGE as error:
        return 1, [f"trial.json: is damaged ({error}); --resume writes it anew"]
    problems = [
        f"{name}: {fault}" for name, recorded in facts.items() for fault in _differs(folder.path / name, recorded)
    ]
    others = [
        path
        for path in sorted(folder.path.iterdir())
        if path.is_file() and path.name not in facts and not path.name.startswith((".", "events."))
    ]
    problems += [f"{path.name}: {fault}" for path in others for fault in _unreadable(path)]
    if state in ENDED and not facts and folder.curve_file.exists():
        problems.append("trial.json: has no checksums, the files could only be opened")
    return len(facts) + len(others), problems


def _differs(path: Path, facts: dict[str, Any]) -> Iterator[str]:
    try:
        current = file_facts(path)
    except FileNotFoundError:
        yield "is missing"
        return
    except OSError as error:
        yield f"cannot be read ({error})"
        return
    if current["bytes"] != facts["bytes"]:
        yield f"has {current['bytes']} bytes, written were {facts['bytes']}"
    elif current["sha256"] != facts["sha256"]:
        yield f"has changed since it was written (sha256 {current['sha256'][:12]}, written {facts['sha256'][:12]})"


def _unreadable(path: Path) -> Iterator[str]:
    try:
        if path.name == "curve.csv":
            TrialFolder(path.parent).curve()
        elif path.suffix in OPENERS:
            OPENERS[path.suffix](path)
    except DAMAGE as error:
        yield f"cannot be read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'empty'})"


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/verify.py", description="What of a run is damaged.")
    whole = partial(run_option, whole=True)
    parser.add_argument("--run", type=whole, required=True, metavar="DIR", help="run folder, such as runs/NAME")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Check a run; returns the exit status: 0 if it is whole, 1 if something is damaged, 2 if there is no such run."""
    run = RunFolder(options.run.absolute())
    if not run.path.is_dir() or not ((run.path / "search.json").exists() or (run.path / "trials").exists()):
        raise ValueError(f"{run.path} is no run folder; name one such as runs/NAME")
    errors = error_console()
    checked, problems = verify(run)
    for path in run.ignored():
        message = (
            f"note: {path.relative_to(run.path)} is ignored: its name is no trial's; remove it, or move it elsewhere"
        )
        errors.print(message, style="yellow")
    if problems:
        errors.print(f"{run.path.name} has {counted(len(problems), 'problem')}:", style="red")
        for problem in problems:
            errors.print(f"  {problem}")
        return 1
    open_console().print(f"{run.path.name} is whole: {counted(checked, 'file')}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
