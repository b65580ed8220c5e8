"""Trains the best trials' configs on the other folds: python search/run.py --confirm NAME --top 3."""

import shlex
import traceback
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from search.heartbeat import Heartbeat
from search.machine import Machine, resources
from search.plan import Plan
from search.recovery import mend
from search.results import Standing, runs_dir_option, standings
from trainable.artifacts import BROKEN, ENDED, FINISHED, RUNNING, RunFolder, TrialFolder
from trainable.coco import Dataset

DONE, FAILED, INTERRUPTED = 0, 1, 130

TOP = 3
"""Finalists where --top does not say otherwise."""


@dataclass(frozen=True)
class Finalist:
    """A trial whose config is trained on further folds."""

    number: int
    further: tuple[int, ...]  # folds; its own too if it was stopped before the end of its budget


def confirm(
    options: dict[str, Any], run: RunFolder, plan: Plan, dataset: Dataset, machine: Machine, console: Console,
    beat: Heartbeat | None = None,
) -> int:  # fmt: skip
    """Train what is missing of the finalists and print how they rank; returns the exit status.

    What has ended is not trained again, so the same command goes on after an interruption.

    Raises:
        ValueError: options that do not fit the run, or data that has changed.
    """
    from search.driving import driver_facts, driving
    from search.events import TensorBoardEvents
    from search.keep import keep_callbacks
    from search.launch import run_tasks
    from search.prepare import prepare, setting_of
    from search.progress import Progress
    from search.record import RecordStates
    from search.sync import synced

    share = resources(machine, options.get("concurrent"), options.get("gpus_per_trial"))
    folds = options.get("folds", plan.folds)
    finalists = find_finalists(run, plan, options.get("top", TOP), folds, options.get("include", []))
    prepared = prepare(plan, run, dataset, True, console)
    tasks = missing(run, finalists)
    if prepared.extra:
        for task in tasks:
            prepared.extra.check(task["further"], prepared.folds)
    numbers = ", ".join(str(each.number) for each in finalists)
    told = f"run {run.path.name}: trials {numbers} on {folds} of {plan.folds} folds; {len(tasks)} trainings to go"
    console.print(told, share.description, sep="\n", highlight=False, soft_wrap=True)
    progress = Progress(run, len(tasks), plan.config.epochs, console, further=True)
    record = RecordStates(run, plan.config.epochs)
    try:
        with driving(run, record, driver_facts(machine, share), console, beat), progress:
            keep = keep_callbacks(run, plan.keep_gb, console)
            callbacks = synced(run, [record, TensorBoardEvents(run), *keep, progress], console)
            run_tasks(tasks, setting_of(plan, run, prepared), share, callbacks)
    except KeyboardInterrupt:
        pass  # a second Ctrl-C: what was reported is on disk all the same
    except Exception:
        traceback.print_exc()
    return _finish(run, finalists, options, console)


def _finish(run: RunFolder, finalists: list[Finalist], options: dict[str, Any], console: Console) -> int:
    """Print how the finalists rank and what to do next; returns the exit status."""
    from search.finalists import print_finalists
    from search.record import mark_interrupted
    from search.sync import bring_scores, send_records

    folders = [run.trial(each.number).further(fold) for each in finalists for fold in each.further]
    mark_interrupted(folder for folder in folders if started(folder))
    send_records(run, console)
    bring_scores(run, [each.number for each in finalists], console)
    print_finalists(run, [each.number for each in finalists], console)
    left = [folder for folder in folders if not started(folder) or folder.status()["state"] not in ENDED]
    if left:
        console.print(
            f"interrupted: {len(left)} of {len(folders)} trainings have not ended; go on with\n  "
            f"{again(run, options)}", style="bold yellow", highlight=False, soft_wrap=True,
        )  # fmt: skip
        return INTERRUPTED
    for folder in folders:
        if folder.status()["state"] in BROKEN:
            text = f"to train trial {folder.number} fold {folder.path.name} again, remove {folder.path} and repeat this"
            console.print(text, style="yellow", highlight=False, soft_wrap=True)
    told = shlex.join(["python", "analysis/ensemble.py", "--run", str(run.path)])
    console.print(f"next:\n  {told}    # one ensemble of them", highlight=False, soft_wrap=True)
    return FAILED if all(folder.status()["state"] in BROKEN for folder in folders) and folders else DONE


def find_finalists(run: RunFolder, plan: Plan, top: int, folds: int, include: list[int]) -> list[Finalist]:
    """Return the best trials of a run, and others by their numbers, with the folds they lack of the first `folds`.

    Trials that had their full budget come before those that were stopped; of equal configs only the first counts.

    Raises:
        ValueError: fewer trials than asked for, unknown numbers, or more folds than the run has.
    """
    if not 2 <= folds <= plan.folds:
        raise ValueError(f"--folds must be 2 to {plan.folds}, the folds of run {run.path.name}, found {folds}")
    if top < 0 or not (top or include):
        raise ValueError(f"--top must be at least 1, found {top}")
    sound = [each for each in standings(run) if each.best and each.state not in (*BROKEN, RUNNING)]
    ranked = distinct(run, sorted(sound, key=lambda each: each.state != FINISHED))
    if top > len(ranked):
        raise ValueError(
            f"--top {top} is more than the {len(ranked)} different trials of run {run.path.name} that can be "
            f"confirmed; use at most {len(ranked)}"
        )
    unknown = set(include) - {each.number for each in sound}
    if unknown:
        there = ", ".join(str(each.number) for each in sorted(sound, key=lambda each: each.number))
        raise ValueError(f"--include {min(unknown)}: no such trial that ended an epoch; there are {there}")
    numbers = list(dict.fromkeys([*(each.number for each in ranked[:top]), *include]))
    return [Finalist(number, _further(run.trial(number), folds)) for number in numbers]


def distinct(run: RunFolder, ranked: list[Standing]) -> list[Standing]:
    """Return the trials without those whose config an earlier one has."""
    first: dict[str, Standing] = {}
    for each in ranked:
        first.setdefault(str(sorted(run.trial(each.number).config().items())), each)
    return list(first.values())


def missing(run: RunFolder, finalists: list[Finalist]) -> list[dict[str, Any]]:
    """Return the trainings that have not ended, as `run_trial` takes them: one fold of all finalists, then the next."""
    tasks = []
    for fold in sorted({fold for each in finalists for fold in each.further}):
        for number in [each.number for each in finalists if fold in each.further]:
            folder = run.trial(number).further(fold)
            mend(folder, {})
            if not started(folder) or folder.status()["state"] not in ENDED:
                config, resume = {**run.trial(number).config(), "fold": fold}, bool(folder.curve())
                tasks.append({"number": number, "further": fold, "config": config, "resume": resume})
    return tasks


def started(folder: TrialFolder) -> bool:
    """Tell whether a training has begun."""
    return (folder.path / "trial.json").exists()


def again(run: RunFolder, options: dict[str, Any]) -> str:
    """Return the command that goes on."""
    command = ["python", "search/run.py", "--confirm", run.path.name]
    command += runs_dir_option(run)
    for name in ("top", "folds", "concurrent", "gpus_per_trial"):
        if name in options:
            command += [f"--{name.replace('_', '-')}", str(options[name])]
    if "include" in options:
        command += ["--include", *map(str, options["include"])]
    return shlex.join(command)


def _further(folder: TrialFolder, folds: int) -> tuple[int, ...]:
    own = folder.config()["fold"]
    whole = folder.status()["state"] == FINISHED
    return tuple(fold for fold in range(folds) if fold != own or not whole)
