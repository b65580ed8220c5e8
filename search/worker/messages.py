"""What the driver tells a worker of the training that it is to run, and what the worker tells back.

Tune carries both as plain dicts. They are made and read here alone.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from trainable.classes import METRIC
from trainable.run_folder.folders import RunFolder, TrialFolder


@dataclass(frozen=True)
class Assignment:
    """One training: what the searcher hands out, and what Tune's trial has as its config from then on."""

    number: int  # of the trial
    config: dict[str, Any]  # as `TrialConfig.to_dict` gives it
    resume: bool  # whether it has ended an epoch before
    gpus: float | None = None  # share of a GPU, where trials are packed
    further: int | None = None  # fold, where the trial's config trains on another one than the trial itself
    seed: int | None = None  # of such a training, where it is not the trial's own

    @classmethod
    def read(cls, sent: dict[str, Any]) -> "Assignment":
        """Return the assignment in a dict of Tune's."""
        return cls(**sent)

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return asdict(self)

    def folder(self, run: RunFolder) -> TrialFolder:
        """Return where its artifacts go: the trial's own folder, or that of a further training of its config."""
        folder = run.trial(self.number)
        return folder if self.further is None else folder.further(self.further, self.seed)

    def label(self) -> str:
        """Return what it is called on the screen: 7, 7 fold 2, 7 fold 2 seed 1."""
        parts = (("", self.number), (" fold ", self.further), (" seed ", self.seed))
        return "".join(f"{name}{value}" for name, value in parts if value is not None)


@dataclass(frozen=True)
class Placed:
    """A training begins that shares a GPU with others, or might."""

    gpu: str  # its node and number

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return {"placed": self.gpu}


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended, and its state is saved."""

    row: dict[str, Any]  # of curve.csv, beside it what Tune adds
    files: dict[str, Any] = field(default_factory=dict)  # sizes and checksums of the trial's files

    @property
    def number(self) -> int:
        """The epoch, from 1 on."""
        return int(self.row["epoch"])

    @property
    def value(self) -> float:
        """What the search goes by."""
        return float(self.row[METRIC])

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return {**self.row, "files": self.files}


@dataclass(frozen=True)
class Halted:
    """The training has saved its state and stops for now: its process, node or search is to end."""

    reason: str

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return {"halted": self.reason}


@dataclass(frozen=True)
class Excused:
    """The training fails by the machine: a missing file, storage or network that do not answer."""

    reason: str

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return {"excused": self.reason}


@dataclass(frozen=True)
class Broken:
    """The training would fail again with this config: it is over."""

    state: str  # one of `BROKEN`
    reason: str
    traceback: str
    files: dict[str, Any] = field(default_factory=dict)

    def sent(self) -> dict[str, Any]:
        """Return it as Tune takes it."""
        return {"broken": self.state, "reason": self.reason, "traceback": self.traceback, "files": self.files}


Report = Placed | Epoch | Halted | Excused | Broken


def read_report(result: dict[str, Any] | None) -> Report | None:
    """Return what a worker has told, or None where Tune has a result of its own or none."""
    result = result or {}
    if "placed" in result:
        return Placed(result["placed"])
    if "halted" in result:
        return Halted(result["halted"])
    if "excused" in result:
        return Excused(result["excused"])
    if "broken" in result:
        return Broken(result["broken"], result["reason"], result["traceback"], result.get("files", {}))
    if "epoch" in result:
        return Epoch(result, result.get("files", {}))
    return None
