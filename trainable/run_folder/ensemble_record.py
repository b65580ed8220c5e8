"""What a stored ensemble says of itself in `ensemble/ensemble.json`, the same from records of every version.

`analysis/ensembling/build.py` makes it; `analysis/prediction/ensemble_file.py` predicts with it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from trainable.classes import COMPETITION, Classes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import check_format, undamaged

FORMAT = 1

Part = TypeVar("Part")


@dataclass(frozen=True)
class Stage:
    """Out-of-fold mIoU after a step, where the score looks, with its 95% interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tried:
    """A step that was tried on the ensemble's predictions."""

    name: str
    accepted: bool
    gain: tuple[float, float, float]  # of mIoU on photos it was not fitted on: value, low, high
    reason: str
    params: Mapping[str, Any] = field(default_factory=dict)  # of a filter, fitted on all photos
    after: tuple[float, ...] = ()  # mIoU with a filter: value, low, high
    cost: float | None = None  # of test-time augmentation, in predictions of one view


@dataclass(frozen=True)
class Model:
    """One training of a member."""

    fold: int  # that validated it
    path: str  # within its run's folder
    stamp: str  # what tells its weights from others


@dataclass(frozen=True)
class MemberRecord:
    """A trial that votes, by its models of all folds."""

    run: str
    trial: int
    weights: tuple[float, ...]  # (C,), by class
    models: tuple[Model, ...]


@dataclass(frozen=True, kw_only=True)
class EnsembleRecord:
    """All of `ensemble.json`."""

    runs: tuple[str, ...]  # by name
    data_hash: str
    folds_hash: str
    members: tuple[MemberRecord, ...]
    views: tuple[str, ...]  # of test-time augmentation
    filters: tuple[Mapping[str, Any], ...]  # that passed their gate: name and parameters, in order
    trainings: Mapping[str, int]  # that each run had when it was made
    method: str = ""  # how the weights were found
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)  # of each method
    stages: tuple[Stage, ...] = ()
    gates: tuple[Tried, ...] = ()
    photos: int = 0  # it was scored on
    folds: tuple[int, ...] = ()  # that they are of
    notes: tuple[str, ...] = ()
    expected: Mapping[str, Any] = field(default_factory=dict)  # see analysis/ensembling/expectation.py
    classes: Classes = COMPETITION  # that its models tell apart
    geometry: Geometry = COMPETITION_GEOMETRY  # of the photos it was made on
    format: int = FORMAT

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "EnsembleRecord":
        """Return the record in an `ensemble.json`; what older ones lack is empty, or the competition's.

        Raises:
            KeyError, TypeError: it is none.
        """
        values = {name: content[name] for name in (attribute.name for attribute in fields(cls)) if name in content}
        for name, kind in (("stages", Stage), ("gates", Tried)):
            values[name] = tuple(_part(kind, part) for part in content.get(name, ()))
        values["members"] = tuple(
            MemberRecord(
                member["run"],
                member["trial"],
                tuple(member["weights"]),
                tuple(_part(Model, model) for model in member["models"]),
            )
            for member in content["members"]
        )
        for name in ("runs", "views", "filters", "folds", "notes"):
            values[name] = tuple(values.get(name, ()))
        if "classes" in content:
            values["classes"] = Classes.from_dict(content["classes"])
        if "geometry" in content:
            values["geometry"] = Geometry.from_dict(content["geometry"])
        return cls(**values)

    def write(self, path: Path) -> None:
        """Write it."""
        write_json(path, {**asdict(self), "classes": self.classes.to_dict(), "geometry": self.geometry.to_dict()})


def read_ensemble(path: Path) -> EnsembleRecord:
    """Return what an `ensemble.json` says.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is damaged, or of a later version.
    """
    with undamaged(path):
        content = json.loads(path.read_bytes())
        check_format(path, content, FORMAT)
        return EnsembleRecord.of(content)


def _part(kind: type[Part], content: Mapping[str, Any]) -> Part:
    """Return a part of the record; lists are tuples, and what this version does not know of is left out."""
    names = {attribute.name for attribute in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k in names})
