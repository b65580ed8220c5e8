"""What an ensemble can be made of: the trials of some runs whose weights and out-of-fold probabilities are kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from safetensors import SafetensorError, safe_open

from trainable.artifacts import BROKEN, RUNNING, RunFolder, TrialFolder
from trainable.bootstrap import mean_ious
from trainable.coco import CLASSES
from trainable.finalists import fold_models, pooled_confusion
from trainable.folds import Folds
from trainable.probabilities import Maps

UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile, SafetensorError)
"""What reading a damaged file of a trial raises."""


@dataclass(frozen=True)
class Member:
    """One trial's config with its model of each fold, and their out-of-fold probabilities."""

    run: RunFolder
    number: int
    models: dict[int, TrialFolder]  # by the fold that validated
    maps: dict[int, Maps]  # of those photos

    @property
    def name(self) -> str:
        """Run and trial, such as `trash/7`."""
        return f"{self.run.path.name}/{self.number}"

    def only(self, folds: Sequence[int]) -> "Member":
        """Return the member with its models of some folds alone."""
        models = {fold: self.models[fold] for fold in folds}
        return replace(self, models=models, maps={fold: self.maps[fold] for fold in folds})


@dataclass(frozen=True)
class Pool:
    """The members that can be compared: all have a model of each of the same folds."""

    members: tuple[Member, ...]  # the best val_miou first
    folds: Folds
    covered: tuple[int, ...]  # the folds
    search: dict[str, Any]  # search.json of the first run
    notes: tuple[str, ...]  # what was left out, and why

    @property
    def fold_of(self) -> dict[str, int]:
        """The photos that all members predicted out of fold, and the fold of each."""
        return {name: fold for fold in self.covered for name in self.members[0].maps[fold].row_of}


def read_pool(paths: Sequence[Path], top: int | None = None) -> Pool:
    """Return the members of some runs: those with the most folds; `top` keeps the best of them.

    Raises:
        ValueError: no run folder, runs of different data, folds or classes, nothing kept, or `top` above what there is.
    """
    runs = [RunFolder(path.absolute()) for path in paths]
    folds = check_same(runs)
    members: list[Member] = []
    notes: list[str] = []
    for run in runs:
        found, told = _members(run)
        members += found
        notes += told
    if not members:
        raise ValueError(
            f"no trial in {' or '.join(str(run.path) for run in runs)} has kept its weights and out-of-fold "
            f"probabilities{''.join(f'; {note}' for note in notes)}; search again, or with a larger --keep-gb"
        )
    covered = _covered(members)
    fitting = [each.only(covered) for each in members if set(covered) <= set(each.models)]
    if len(fitting) < len(members):
        left = len(members) - len(fitting)
        notes.append(f"{left} trials are left out: they have no model of all folds {', '.join(map(str, covered))}")
    scored = {each.name: score(each) for each in fitting}
    fitting.sort(key=lambda each: -scored[each.name])
    if top is not None and not 1 <= top <= len(fitting):
        raise ValueError(f"--top must be 1 to {len(fitting)}, the trials there are, found {top}")
    return Pool(tuple(fitting[:top]), folds, covered, runs[0].search(), tuple(notes))


def check_same(runs: Sequence[RunFolder]) -> Folds:
    """Return the folds of some runs, which must be of the same photos, split alike.

    Raises:
        ValueError: a folder that is no run, or runs whose data, folds or classes differ: both are named.
    """
    for run in runs:
        if not (run.path / "search.json").exists():
            raise ValueError(f"{run.path} is no run folder: it has no search.json; name a folder such as runs/NAME")
    first, record = runs[0], runs[0].search()
    for run in runs[1:]:
        for key, what in (("data_hash", "data"), ("folds_hash", "folds")):
            here, there = record[key], run.search()[key]
            if here != there:
                raise ValueError(
                    f"{first.path.name} and {run.path.name} cannot be used together: their {what} differ "
                    f"({here[:16]} and {there[:16]}); name runs of the same data and folds"
                )
    for run in runs:
        classes = tuple(run.folds_classes())
        if classes != CLASSES:
            raise ValueError(f"{run.path} is of the classes {', '.join(classes)}; this version's: {', '.join(CLASSES)}")
    return Folds.read(first.folds)


def _covered(members: Sequence[Member]) -> tuple[int, ...]:
    """Return the folds to compare members on: the most that two of them share, if any share more than one."""
    sets = Counter(tuple(each.models) for each in members)
    shared = {folds: sum(set(folds) <= set(each.models) for each in members) for folds in sets}
    return max(sets, key=lambda folds: (shared[folds] > 1 and len(folds) > 1, len(folds), shared[folds]))


def score(member: Member) -> float:
    """Return the member's val_miou over all its out-of-fold photos."""
    return float(mean_ious(pooled_confusion(member.models)[1])[0])


def _members(run: RunFolder) -> tuple[list[Member], list[str]]:
    found, damaged, dropped, going, broken = [], [], [], [], []
    for trial in run.trials():
        state = trial.status()["state"]
        if state == RUNNING:
            going.append(trial.number)
        if state in BROKEN:
            broken.append(trial.number)
            continue
        try:
            models = fold_models(trial)
            kept = {fold: each for fold, each in models.items()
                    if each.best_weights.exists() and each.out_of_fold.exists()}  # fmt: skip
            if models and not kept:
                dropped.append(trial.number)
            elif kept:
                maps = {fold: Maps.open(each.out_of_fold) for fold, each in kept.items()}
                member = Member(run, trial.number, kept, maps)
                _read_all(member)
                found.append(member)
        except UNREADABLE as error:
            damaged.append(f"{trial.number} ({(str(error).splitlines() or ['?'])[0]})")
    return found, _notes(run.path.name, damaged, dropped, going, broken)


def _read_all(member: Member) -> None:
    """Read of each of a member's files as much as tells that it is whole."""
    score(member)
    for folder in member.models.values():
        with safe_open(folder.best_weights, framework="pt"):  # compares the header with the file's length
            pass


def _notes(
    name: str, damaged: Sequence[str], dropped: Sequence[int], going: Sequence[int], broken: Sequence[int]
) -> list[str]:
    told = (
        (going, f"{name} is still going on: {len(going)} trials have not ended"),
        (broken, f"{name}: {len(broken)} failed trials are left out: {', '.join(map(str, broken))}"),
        (dropped, f"{name}: {len(dropped)} trials have no kept weights: {', '.join(map(str, dropped))}"),
        (damaged, f"{name}: {len(damaged)} damaged trials are left out: {'; '.join(damaged)}"),
    )
    return [text for which, text in told if which]
