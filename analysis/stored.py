"""The stored ensemble, `ensemble/ensemble.json` in a run folder: what a submission is predicted with.

    members     run, trial, folds and weight per class
    method      how the weights were found
    views       the test-time augmentation
    filters     the post-processing that passed its gate: name and parameters, in order
    stages      the out-of-fold mIoU at 256 x 256 after each step, with its interval
    gates       of each step: whether it was taken, its gain and why
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.members import Pool, read_pool
from analysis.views import PLAIN
from trainable.artifacts import FINISHED, RunFolder, TrialFolder, read_json, write_json
from trainable.coco import CLASSES
from trainable.config import NO_FOLD


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
    filters: tuple[dict[str, Any], ...]
    record: dict[str, Any]  # the file's content

    @property
    def folds(self) -> list[int]:
        """The folds that some model validated on."""
        return sorted({voter.fold for voter in self.voters})

    @property
    def hash(self) -> str:
        """Identify the ensemble: what its predictions depend on, the weights' files by size and time of change."""
        digest = hashlib.sha256(json.dumps([self.views, self.filters], sort_keys=True).encode())
        for voter in self.voters:
            stat = voter.folder.best_weights.stat()
            digest.update(f"{voter.name} {voter.weight.tolist()} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]

    def of_fold(self, fold: int) -> "Ensemble":
        """Return the ensemble of the models that validated on a fold, so did not train on its photos.

        Raises:
            ValueError: there are none.
        """
        voters = tuple(voter for voter in self.voters if voter.fold == fold)
        if not voters:
            known = ", ".join(map(str, self.folds))
            raise ValueError(f"no model of the ensemble validated on fold {fold}, only on {known}; confirm it on all")
        return replace(self, voters=voters).evened()

    def evened(self) -> "Ensemble":
        """Return the ensemble with weights that sum to 1 for each class; a class without any has them equal."""
        total = sum(voter.weight for voter in self.voters)
        even = 1 / len(self.voters)
        safe = np.where(total > 0, total, 1)
        voters = (replace(each, weight=np.where(total > 0, each.weight / safe, even)) for each in self.voters)
        return replace(self, voters=tuple(voters))

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Ensemble":
        """Return the ensemble that is stored in one of some run folders and made of those runs.

        Raises:
            FileNotFoundError: none is stored there, or its weights are gone.
            ValueError: the file is damaged.
        """
        runs = {path.absolute().name: RunFolder(path.absolute()) for path in paths}
        for run in runs.values():
            file = ensemble_file(run)
            if not file.exists():
                continue
            try:
                record = read_json(file)
                if {each["run"] for each in record["pool"]} == set(runs):
                    return _of(file, record, runs)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file} is damaged ({error!r}); make it again by analysis/ensemble.py") from error
        raise FileNotFoundError(f"no ensemble of {', '.join(runs)} is stored; make one by analysis/ensemble.py")


def stored_or_best(paths: Sequence[Path]) -> Ensemble:
    """Return the stored ensemble of some runs, or their best trial alone where none is stored.

    Raises:
        ValueError: no trial has kept its weights, or runs do not belong together.
    """
    try:
        return Ensemble.read(paths)
    except FileNotFoundError:
        best = read_pool(paths).members[0]
        share = np.full(len(CLASSES), 1 / len(best.models))
        voters = tuple(Voter(folder, fold, share) for fold, folder in best.models.items())
        return Ensemble(ensemble_file(best.run), voters, (PLAIN,), (), {})


def refitted(paths: Sequence[Path]) -> Ensemble:
    """Return the final model of `analysis/refit.py` alone, with the views of the stored ensemble if there is one.

    Raises:
        FileNotFoundError: none of the runs has one that has ended.
    """
    for path in paths:
        folder = TrialFolder(path.absolute() / "refit")
        if (folder.path / "trial.json").exists() and folder.status()["state"] == FINISHED:
            try:
                views = Ensemble.read(paths).views
            except FileNotFoundError:
                views = (PLAIN,)
            return Ensemble(folder.path, (Voter(folder, NO_FOLD, np.ones(len(CLASSES))),), views, (), {})
    raise FileNotFoundError(f"no final model in {' or '.join(map(str, paths))}; make one by analysis/refit.py")


def ensemble_file(run: RunFolder) -> Path:
    """Return where a run's ensemble is stored."""
    return run.path / "ensemble" / "ensemble.json"


def store(pool: Pool, weights: NDArray[np.float64], runs: Sequence[Path], **more: Any) -> Path:
    """Write the ensemble of a pool with weights (M, C) into the first run's folder and return the file."""
    used = [(member, each) for member, each in zip(pool.members, weights, strict=True) if each.any()]
    content = {
        "pool": [{"run": path.absolute().name} for path in runs],
        "data_hash": pool.search["data_hash"],
        "folds_hash": pool.folds.hash,
        "members": [
            {"run": member.run.path.name, "trial": member.number, "folds": list(member.models),
             "weights": [round(float(share), 6) for share in each]}
            for member, each in used
        ],
        "views": [PLAIN],
        "filters": [],
        **more,
    }  # fmt: skip
    file = ensemble_file(RunFolder(runs[0].absolute()))
    file.parent.mkdir(exist_ok=True)
    write_json(file, content)
    return file


def _of(file: Path, record: dict[str, Any], runs: dict[str, RunFolder]) -> Ensemble:
    voters = []
    for each in record["members"]:
        trial = runs[each["run"]].trial(each["trial"])
        own = trial.config()["fold"]
        for fold in each["folds"]:
            further = trial.further(fold)
            folder = further if fold != own or (further.path / "trial.json").exists() else trial
            voters.append(Voter(folder, fold, np.array(each["weights"]) / len(each["folds"])))
    return Ensemble(file, tuple(voters), tuple(record["views"]), tuple(record["filters"]), record)
