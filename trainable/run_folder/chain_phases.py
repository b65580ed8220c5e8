"""The phases of a search that goes on to a submission: phases.json in its folder.

`search/run_state/chain_record.py` writes it and carries the phases on; whoever else reads a run sees them by this.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from trainable.counts import counted
from trainable.machine.called_as import command_line
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DamagedError, check_format, undamaged

FILE = "phases.json"
FORMAT = 1

LONG, EXTRA = "-long", "-extra"
"""What the names of the runs beside the search's end with: of its longer trainings, and of those on pseudo labels."""

SUFFIXES = {"search": "", "extra": EXTRA, "extra-folds": EXTRA}
"""Of the runs that phases train in; all others work in that of the longer trainings."""

EXPECTED = "expected on unseen photos"
"""Among the figures of an ensemble: its mIoU there."""

Kind = TypeVar("Kind", bound="ChainRecord")


@dataclass
class Phase:
    """One command of the chain, and what became of it."""

    name: str
    command: list[str]
    told: str  # what it does, in words
    seconds: float = 0.0  # that it has taken, over all sessions
    status: int | None = None  # of the last time it ended; None: it has not
    found: dict[str, float] = field(default_factory=dict)  # figures of what came of it
    skipped: str = ""  # why it was not needed

    @property
    def ended(self) -> bool:
        """Whether it has done its work."""
        return self.status == 0 or bool(self.skipped)

    def figures(self) -> str:
        """Return what it has found, in words: scores are floats, counts are whole numbers named in the plural."""
        return ", ".join(
            f"{name} {value:.4f}" if isinstance(value, float) else counted(value, name.removesuffix("s"))
            for name, value in self.found.items()
        )

    def outcome(self) -> str:
        """Return what it has come to, in words."""
        if self.skipped:
            return f"left out: {self.skipped}"
        return self.figures() if self.ended else "has not ended"


@dataclass
class ChainRecord:
    """The content of phases.json."""

    to: str  # the last phase
    limit: dict[str, Any]  # until, gpu_hours or cost (with rate), as given
    asked: list[str]  # further options of the search
    phases: list[Phase] = field(default_factory=list)  # that have begun, in their order
    pseudo_labels: bool = False  # a round of them is asked for
    by: dict[str, Any] = field(default_factory=dict)  # the process that carries it, and when it was seen last
    format: int = FORMAT

    @classmethod
    def of(cls: type[Kind], path: Path, raw: bytes) -> Kind:
        """Return the record in a phases.json.

        Args:
            path: of the file, for messages.
            raw: its content.

        Raises:
            DamagedError: it is damaged, or of a later version.
        """
        with undamaged(path):
            content = json.loads(raw)
            check_format(path, content, FORMAT)
            if fault := _fault(content):
                raise DamagedError(f"{path} is damaged: {fault}")
            return cls(**{**content, "phases": [Phase(**phase) for phase in content["phases"]]})

    def phase(self, name: str) -> Phase | None:
        """Return a phase that has begun, or None."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def ended(self, name: str) -> bool:
        """Tell whether a phase has done its work."""
        phase = self.phase(name)
        return phase is not None and phase.ended

    def latest(self, figure: str) -> float | None:
        """Return a figure of the last phase that has it, or None."""
        return next((phase.found[figure] for phase in reversed(self.phases) if figure in phase.found), None)

    def command(self, name: str) -> str:
        """Return the command that asks for the whole way, given the run's name."""
        words = [*self.asked, "--to", self.to, "--name", name]
        for limit, value in self.limit.items():
            words += [f"--{limit.replace('_', '-')}", str(value)]
        return command_line("search/run.py", *words)


def run_of_phase(run: Path, phase: str) -> Path:
    """Return the folder of the run that a phase works in, given that of the search."""
    return run.with_name(run.name + SUFFIXES.get(phase, LONG))


def longer_runs(run: Path) -> list[Path]:
    """Return the folders of the runs beside a search's that its later phases have left."""
    beside = [run.with_name(run.name + suffix) for suffix in (LONG, EXTRA)]
    return [path for path in beside if (run / FILE).exists() and (path / "search.json").exists()]


def read_phases(run: RunFolder) -> ChainRecord | None:
    """Return the phases of the way that a run began, or None where it is a search alone.

    Raises:
        DamagedError: phases.json is damaged, or of a later version.
    """
    path = run.path / FILE
    return ChainRecord.of(path, path.read_bytes()) if path.exists() else None


def _fault(content: Mapping[str, Any]) -> str | None:
    if not isinstance(content, dict) or not isinstance(content.get("phases"), list):
        return "it has no list of phases"
    if not isinstance(content.get("limit"), dict) or not isinstance(content.get("to"), str):
        return "it has no limit, or no phase that it goes to"
    return None
