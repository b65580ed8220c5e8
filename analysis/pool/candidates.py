"""What an ensemble can be made of: the trials of some runs whose weights and out-of-fold probabilities are kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.pool.same_scores import check_same_scores
from trainable.config import NO_FOLD
from trainable.counts import agrees, counted
from trainable.dataset.folds import Folds
from trainable.engine.checkpoint import saved_header
from trainable.metric.bootstrap import mean_ious
from trainable.run_folder.fold_models import fold_models, pooled_confusion
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.out_of_fold import Maps
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import BROKEN, RUNNING
from trainable.storage.record_checks import DAMAGE


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
    search: SearchRecord  # of the first run
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
    runs = [RunFolder.open(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    folds = check_same(runs)
    members: list[Member] = []
    notes: list[str] = []
    for run in runs:
        run_members, run_notes = _members(run)
        members += run_members
        notes += run_notes
    if not members:
        raise ValueError(
            f"no trial in {' or '.join(str(run.path) for run in runs)} has kept its weights and out-of-fold "
            f"probabilities{''.join(f'; {note}' for note in notes)}; search again, or with a larger --keep-gb"
        )
    covered = _covered(members, len(set(folds.fold_of.values()) - {NO_FOLD}))
    fitting = [member.only(covered) for member in members if set(covered) <= set(member.models)]
    if len(fitting) < len(members):
        count, which = len(members) - len(fitting), ", ".join(map(str, covered))
        left_out = f"{counted(count, 'trial')} {agrees(count, 'is', 'are')} left out"
        lacks = f"{agrees(count, 'it has', 'they have')} no model of {agrees(len(covered), 'fold', 'folds')} {which}"
        notes.append(f"{left_out}: {lacks}")
    scored = {member.name: score(member) for member in fitting}
    fitting.sort(key=lambda member: -scored[member.name])
    if top is not None and not 1 <= top <= len(fitting):
        raise ValueError(f"--top must be 1 to {len(fitting)}, the trials there are, found {top}")
    return Pool(tuple(fitting[:top]), folds, covered, runs[0].record(), tuple(notes))


def check_same(runs: Sequence[RunFolder]) -> Folds:
    """Return the folds of some runs, which must be of the same photos and classes, split alike.

    Raises:
        ValueError: runs whose data, folds, classes or frames differ: both are named.
    """
    for name, count in Counter(run.path.name for run in runs).items():
        if count > 1:
            raise ValueError(f"{count} runs are named {name}; their members could not be told apart: rename a folder")
    first, record = runs[0], runs[0].record()
    for run in runs[1:]:
        other = run.record()
        for ours, theirs, what in (
            (record.data_hash, other.data_hash, "data"),
            (record.folds_hash, other.folds_hash, "folds"),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{first.path.name} and {run.path.name} cannot be used together: their {what} differ "
                    f"({str(ours)[:16]} and {str(theirs)[:16]}); name runs of the same data and folds"
                )
    records = [(run.path.name, run.record()) for run in runs]
    check_same_scores(records)
    for name, other in records[1:]:
        if other.geometry.aspect != record.geometry.aspect:
            raise ValueError(
                f"networks that vote see photos in frames of one aspect; that of {first.path.name} is "
                f"{record.geometry.aspect:g}, of {name} {other.geometry.aspect:g}: name only runs that share it"
            )
    folds = Folds.read(first.folds)
    if folds.classes != record.classes.names:
        raise ValueError(
            f"{first.path.name} is damaged: search.json has the classes {', '.join(record.classes.names)}, folds.json "
            f"{', '.join(folds.classes)}; bring both back from a copy of the run"
        )
    return folds


def _covered(members: Sequence[Member], every: int) -> tuple[int, ...]:
    """Return the folds to compare members on: all, if one has a model of each, as the winner of a race may be alone.

    Otherwise the most that two of them share, where any two share some.
    """
    sets = Counter(tuple(member.models) for member in members)
    shared = {folds: sum(set(folds) <= set(member.models) for member in members) for folds in sets}
    return max(sets, key=lambda folds: (len(folds) == every or shared[folds] > 1, len(folds), shared[folds]))


def without(pool: Pool, index: int, reason: str) -> Pool:
    """Return a pool without one of its members, and the note that tells why.

    Raises:
        ValueError: it was the last one.
    """
    remaining = (*pool.members[:index], *pool.members[index + 1 :])
    note = f"damaged trial left out: {pool.members[index].name} ({reason})"
    if not remaining:
        raise ValueError(note)
    return replace(pool, members=remaining, notes=(*pool.notes, note))


def score(member: Member) -> float:
    """Return the member's val_miou over all its out-of-fold photos."""
    return float(mean_ious(pooled_confusion(member.models)[1])[0])


def _members(run: RunFolder) -> tuple[list[Member], list[str]]:
    classes = run.record().classes.names
    members: list[Member] = []
    damaged, dropped, going, broken = [], [], [], []
    for trial in run.trials():
        try:
            state = trial.status().state
            running = [folder for folder in (trial, *trial.further_folds()) if folder.status().state == RUNNING]
            going += [trial.number] if running else []
            broken += [trial.number] if state in BROKEN else []
            models = fold_models(trial) if state not in BROKEN and trial.curve() else {}
            usable = {
                fold: folder
                for fold, folder in models.items()
                if folder.best_weights.exists() and folder.out_of_fold.exists()
            }
            if models and not usable:
                dropped.append(trial.number)
            elif usable:
                members.append(_read(run, trial.number, usable, classes))
        except DAMAGE as error:
            damaged.append(f"{trial.number} ({(str(error).splitlines() or [type(error).__name__])[0]})")
    return members, _notes(run.path.name, damaged, dropped, going, broken)


def _read(run: RunFolder, number: int, models: dict[int, TrialFolder], classes: tuple[str, ...]) -> Member:
    """Read of each of a member's files as much as tells that they are whole and of the same epoch."""
    maps = {}
    for fold, folder in models.items():
        try:
            names = set(map(str, folder.confusion()["file_names"]))
        except DAMAGE as error:
            raise ValueError(f"{folder.path / 'confusion.npz'} cannot be read: {type(error).__name__}") from error
        maps[fold] = Maps.open(folder.out_of_fold)
        if set(maps[fold].row_of) != names:
            raise ValueError(f"{folder.out_of_fold} is of other photos than confusion.npz")
        if maps[fold].classes != classes:
            raise ValueError(f"{folder.out_of_fold} is of other classes than search.json")
        epoch = saved_header(folder.best_weights).get("epoch")
        if maps[fold].epoch not in (0, epoch):
            raise ValueError(f"{folder.out_of_fold} is of epoch {maps[fold].epoch}, best.safetensors of {epoch}")
    return Member(run, number, models, maps)


def _trials(which: Sequence[object], name: str, one: str, many: str) -> str:
    return f"{counted(len(which), name)} {agrees(len(which), one, many)}"


def _notes(
    name: str, damaged: Sequence[str], dropped: Sequence[int], going: Sequence[int], broken: Sequence[int]
) -> list[str]:
    notes = (
        (going, f"{name} is still going on: {_trials(going, 'trial', 'has', 'have')} not ended"),
        (broken, f"{name}: {_trials(broken, 'failed trial', 'is', 'are')} left out: {', '.join(map(str, broken))}"),
        (
            dropped,
            f"{name}: {_trials(dropped, 'trial', 'has', 'have')} no kept weights: {', '.join(map(str, dropped))}",
        ),
        (damaged, f"{name}: {_trials(damaged, 'damaged trial', 'is', 'are')} left out: {'; '.join(damaged)}"),
    )
    return [note for which, note in notes if which]
