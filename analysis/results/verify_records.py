"""What is wrong with the records of a run as a whole: its plan, its folds, and the study beside the trials' folders."""

import json
from collections.abc import Iterator

from optuna.trial import FrozenTrial, TrialState

from analysis.results.importances import open_study, quiet
from trainable.counts import counted
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.record_checks import DamagedError, folds_rule, read_record, search_rule

NEEDED = {
    "search.json": (search_rule, "without it the run cannot go on"),
    "folds.json": (folds_rule, "without it the trials cannot be compared"),
}
"""Records that every run has and nothing else tells: what each has to be, and why it is needed."""


def record_problems(run: RunFolder) -> Iterator[str]:
    """Say which of the records that a run cannot do without are missing or are not what they should be."""
    for name, (rule, why) in NEEDED.items():
        try:
            read_record(run.path / name, rule)
        except FileNotFoundError:
            yield f"{name}: is missing; bring it back from a copy of the folder: {why}"
        except DamagedError as error:
            fault = str(error).removeprefix(f"{run.path / name} ")
            yield f"{name}: {fault}; bring it back from a copy of the folder: {why}"


def study_problems(run: RunFolder, folders: list[TrialFolder]) -> Iterator[str]:
    """Say what is wrong with the study, and what either it or the trials' folders lack of the other.

    Args:
        run: to check. What it was before it was extended is another journal, which nothing needs.
        folders: of its trials, listed before: a trial that a search begins now is in the study first.
    """
    name, resume = run.study.name, f"--resume {run.path.name}"
    if not run.study.exists():
        if folders:  # before its first trial, a run may have none yet
            yield f"{name}: is missing; {resume} begins it anew with what the trials' folders have"
        return
    if fault := _cut_off(run):
        yield f"{name}: {fault}; {resume} drops it and all after it, and takes from the trials' folders what they have"
        return
    try:
        with quiet():
            study = {trial.number: trial for trial in open_study(run).get_trials(deepcopy=False)}
    except ValueError as error:
        fault = " ".join(str(error).removeprefix(f"{run.study} ").split())
        yield f"{name}: {fault}; {resume} keeps what can be read and takes the rest from the trials' folders"
        return
    for folder in folders:
        recorded = study.get(folder.number)
        if (folder.path / "trial.json").exists() and (recorded is None or recorded.state == TrialState.WAITING):
            yield f"{name}: does not know that trial {folder.number} began; {resume} adds it as its folder has it"
    for number, trial in study.items():
        if not run.trial(number).path.exists() and (lost := _lost(trial, resume)):
            yield f"trials/{run.trial(number).path.name}: {lost}"


def _cut_off(run: RunFolder) -> str:
    """Return which line of the journal is the first that is none, or nothing."""
    try:
        lines = run.study.read_bytes().splitlines(keepends=True)
    except OSError as error:
        return f"cannot be read ({error})"
    for number, line in enumerate(lines, start=1):
        try:
            sound = isinstance(json.loads(line), dict) and line.endswith(b"\n")
        except (ValueError, RecursionError):
            sound = False
        if not sound:
            return f"line {number} of {len(lines)} is damaged or cut off"
    return ""


def _lost(trial: FrozenTrial, resume: str) -> str:
    """Return what is lost with the folder of a trial; nothing is, where a kill came before it had one."""
    epochs = len(trial.intermediate_values)
    if trial.state.is_finished():
        state, then = f"{trial.state.name.lower()} after {counted(epochs, 'epoch')}", "puts it down as failed"
    elif trial.state == TrialState.RUNNING and epochs:
        state, then = f"unfinished after {counted(epochs, 'epoch')}", "trains it again from its start"
    else:
        return ""
    return f"is missing, the study has this trial as {state}; bring it back from a copy of the run, or {resume} {then}"
