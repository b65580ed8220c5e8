"""The stored ensemble, which a submission is predicted with: models that vote, as `ensemble/ensemble.json` has them.

What that file holds: `trainable/run_folder/ensemble_record.py`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.pool.candidates import Pool, read_pool
from analysis.pool.same_scores import classes_differ, scores_differ
from analysis.prediction.views import PLAIN
from trainable.classes import COMPETITION, Classes
from trainable.config import NO_FOLD
from trainable.engine.checkpoint import saved_header
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.machine.called_as import command_line
from trainable.run_folder.chain_phases import longer_runs
from trainable.run_folder.ensemble_record import EnsembleRecord, MemberRecord, Model, read_ensemble
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import ENDED, FINISHED
from trainable.storage.record_checks import DAMAGE, DamagedError, NewerFormatError


@dataclass(frozen=True)
class Voter:
    """One model of an ensemble."""

    folder: TrialFolder
    fold: int  # that validated it
    weight: NDArray[np.float64]  # (C,) share of each class's probability

    @property
    def name(self) -> str:
        """Run, trial and fold, such as `trash/7 fold 2`."""
        path = self.folder.path
        if self.fold == NO_FOLD:
            return f"{path.parent.name}/{path.name}"
        run = path.parents[3 if path.parent.name == "folds" else 1].name
        return f"{run}/{self.folder.number} fold {self.fold}"


@dataclass(frozen=True)
class Ensemble:
    """Models that vote, and what is done with their votes."""

    path: Path  # of the file
    voters: tuple[Voter, ...]
    views: tuple[str, ...]
    filters: tuple[Mapping[str, Any], ...]
    record: EnsembleRecord | None = None  # the file's content; None where none is stored
    classes: Classes = COMPETITION  # that its models tell apart
    geometry: Geometry = COMPETITION_GEOMETRY  # of the photos it was made on

    @property
    def folds(self) -> list[int]:
        """The folds that some model validated on."""
        return sorted({voter.fold for voter in self.voters})

    @property
    def hash(self) -> str:
        """Identify the ensemble: all that its predictions depend on."""
        of_data = [self.classes.to_dict(), self.geometry.to_dict()]
        digest = hashlib.sha256(json.dumps([self.views, self.filters, of_data], sort_keys=True).encode())
        for voter in self.voters:
            digest.update(f"{voter.name} {voter.weight.tolist()} {stamp(voter.folder.best_weights)}".encode())
        return digest.hexdigest()[:16]

    def of_fold(self, fold: int) -> "Ensemble":
        """Return the ensemble of the models that validated on a fold, so did not train on its photos.

        Raises:
            ValueError: there are none.
        """
        voters = tuple(voter for voter in self.voters if voter.fold == fold)
        if not voters:
            folds = ", ".join(map(str, self.folds))
            raise ValueError(f"no model of the ensemble validated on fold {fold}, only on {folds}; confirm it on all")
        return replace(self, voters=voters).evened()

    def evened(self) -> "Ensemble":
        """Return the ensemble with weights that sum to 1 for each class; a class without any has them equal."""
        total = sum(voter.weight for voter in self.voters)
        even = 1 / len(self.voters)
        safe = np.where(total > 0, total, 1)
        voters = (replace(voter, weight=np.where(total > 0, voter.weight / safe, even)) for voter in self.voters)
        return replace(self, voters=tuple(voters))

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Ensemble":
        """Return the ensemble that is stored in one of some run folders and made of just those runs.

        Raises:
            NoEnsembleError: none is.
            ValueError: its file is damaged, or its models are not those any more that it was scored with.
        """
        runs = by_name(paths)
        files = [file for file in (ensemble_file(run, runs) for run in runs.values()) if file.exists()]
        if not files:
            raise NoEnsembleError(f"no ensemble of {', '.join(runs)} is stored; make one: {_making(runs)}")
        try:
            record = read_ensemble(files[0])
        except NewerFormatError:
            raise
        except DamagedError as error:
            raise ValueError(f"{error}; make it again: {_making(runs)}") from error
        _check_fits(files[0], record, runs)
        voters = [
            Voter(
                TrialFolder(runs[member.run].path / model.path),
                model.fold,
                np.array(member.weights) / len(member.models),
            )
            for member in record.members
            for model in member.models
        ]
        return cls(files[0], tuple(voters), record.views, record.filters, record, record.classes, record.geometry)


class NoEnsembleError(FileNotFoundError):
    """No ensemble of these runs is stored."""


def stored_of_others(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return the runs that stored ensembles are made of, among some runs and those of their later phases.

    Args:
        paths: of runs, of which together no ensemble is stored.
    """
    folders = [path.resolve() for path in paths]
    folders = list(dict.fromkeys([*folders, *(longer for path in folders for longer in longer_runs(path))]))
    found: dict[tuple[Path, ...], None] = {}
    for folder in folders:
        for file in sorted((folder / "ensemble").glob("ensemble*.json")):
            with suppress(*DAMAGE):
                runs = tuple(folder.with_name(name) for name in read_ensemble(file).runs)
                if all(map(Path.is_dir, runs)):
                    found[runs] = None
    return list(found)


def by_name(paths: Sequence[Path]) -> dict[str, RunFolder]:
    """Return run folders by their names, each once.

    Raises:
        ValueError: two of them have the same name.
    """
    runs: dict[str, RunFolder] = {}
    for path in dict.fromkeys(path.resolve() for path in paths):
        if path.name in runs:
            raise ValueError(f"two runs are named {path.name}; their members could not be told apart: rename a folder")
        runs[path.name] = RunFolder(path)
    return runs


def stamp(weights: Path) -> str:
    """Identify saved weights, on any machine: by size, epoch and val_miou.

    Raises:
        ValueError: the file is damaged.
    """
    header = saved_header(weights)
    return f"{weights.stat().st_size} bytes, epoch {header.get('epoch')}, val_miou {header.get('val_miou')}"


def ended_trainings(run: RunFolder) -> int:
    """Return how many trainings of a run that an ensemble can use have left weights."""
    return sum(
        (folder.path / "best.safetensors").exists() and not folder.repeats and folder.status().state in ENDED
        for trial in run.trials()
        for folder in (trial, *trial.further_folds())
    )


def _making(runs: dict[str, RunFolder]) -> str:
    return command_line("analysis/ensemble.py", "--run", *(str(run.path) for run in runs.values()))


def _check_fits(file: Path, record: EnsembleRecord, runs: dict[str, RunFolder]) -> None:
    again = f"make it again: {_making(runs)}"
    for run in runs.values():
        search = run.record()
        for key, here in (("data_hash", search.data_hash), ("folds_hash", search.folds_hash)):
            if here != (recorded := getattr(record, key)):
                difference = f"{recorded[:16]}, {run.path.name} has {str(here)[:16]}"
                raise ValueError(f"{file} was made with the {key} {difference}; {again}")
        differing = classes_differ(record.classes, search.classes) or scores_differ(record.geometry, search.geometry)
        if differing or record.geometry != search.geometry:
            differing = differing or "networks see photos in frames of another aspect"
            raise ValueError(
                f"an ensemble is of its runs' classes and frames; those of {file} and {run.path.name} differ: "
                f"{differing}; {again}"
            )
    for member in record.members:
        for model in member.models:
            weights = runs[member.run].path / model.path / "best.safetensors"
            current = stamp(weights) if weights.exists() else "gone"
            if current != model.stamp:
                raise ValueError(
                    f"{weights} is not what the ensemble was scored with: it was {model.stamp}, now {current}; {again}"
                )


def stored_or_best(paths: Sequence[Path]) -> Ensemble:
    """Return the stored ensemble of some runs, or their best trial alone where none is stored.

    Raises:
        ValueError: no trial has kept its weights, or runs do not belong together.
    """
    try:
        return Ensemble.read(paths)
    except NoEnsembleError:
        pool = read_pool(paths)
        best, classes, geometry = pool.members[0], pool.search.classes, pool.search.geometry
        share = np.full(len(classes), 1 / len(best.models))
        voters = tuple(Voter(folder, fold, share) for fold, folder in best.models.items())
        return Ensemble(best.run.path / "ensemble", voters, (PLAIN,), (), classes=classes, geometry=geometry)


def refitted(paths: Sequence[Path]) -> Ensemble:
    """Return the final model of `analysis/refit.py` alone, with the views of the stored ensemble if there is one.

    Raises:
        FileNotFoundError: none of the runs has one that has ended.
    """
    for path in paths:
        folder = TrialFolder(path.absolute() / "refit")
        if (folder.path / "trial.json").exists() and folder.status().state == FINISHED:
            try:
                views = Ensemble.read(paths).views
            except NoEnsembleError:
                views = (PLAIN,)
            search = RunFolder(path.absolute()).record()
            voter = Voter(folder, NO_FOLD, np.ones(len(search.classes)))
            return Ensemble(folder.path, (voter,), views, (), classes=search.classes, geometry=search.geometry)
    make = command_line("analysis/refit.py", "--run", str(paths[0]))
    raise FileNotFoundError(f"no final model in {' or '.join(map(str, paths))}; make one: {make}")


def ensemble_file(run: RunFolder, runs: Iterable[str] = ()) -> Path:
    """Return where a run's ensemble is stored: one of the run alone, or one with other runs, given by their names."""
    others = sorted(set(runs) - {run.path.name})
    name = "-with-".join(["ensemble", *(["-".join(others)] if others else [])])
    return run.path / "ensemble" / f"{name}.json"


def store(pool: Pool, weights: NDArray[np.float64], paths: Sequence[Path], **more: Any) -> Path:
    """Write the ensemble of a pool with weights (M, C) into the first run's folder and return the file.

    `more` are further fields of `EnsembleRecord`.
    """
    runs = by_name(paths)
    used = [(member, weight) for member, weight in zip(pool.members, weights, strict=True) if weight.any()]
    content: dict[str, Any] = {
        "runs": tuple(runs),
        "data_hash": pool.search.data_hash,
        "folds_hash": pool.search.folds_hash,
        "classes": pool.search.classes,
        "geometry": pool.search.geometry,
        "members": tuple(
            MemberRecord(
                member.run.path.name,
                member.number,
                tuple(round(float(share), 6) for share in weight),
                tuple(
                    Model(fold, folder.path.relative_to(member.run.path).as_posix(), stamp(folder.best_weights))
                    for fold, folder in member.models.items()
                ),
            )
            for member, weight in used
        ),
        "views": (PLAIN,),
        "filters": (),
        "trainings": {name: ended_trainings(run) for name, run in runs.items()},
        **more,
    }
    first = next(iter(runs.values()))
    file = ensemble_file(first, runs)
    file.parent.mkdir(exist_ok=True)
    EnsembleRecord(**content).write(file)
    for run in list(runs.values())[1:]:  # made before, named in another order
        ensemble_file(run, runs).unlink(missing_ok=True)
    return file


def newer(ensemble: Ensemble, paths: Sequence[Path]) -> int:
    """Return how many trainings have ended since the ensemble was made."""
    runs, trainings = by_name(paths), ensemble.record.trainings if ensemble.record else {}
    return sum(max(ended_trainings(runs[name]) - count, 0) for name, count in trainings.items())
