"""The phases of a search that goes on to a submission, as whoever reads a run sees them: phases.json in its folder.

`search/run_state/chain_record.py` writes it and carries the phases on; this reads what each has come to.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.counts import counted
from trainable.machine.called_as import command_line
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import read_record, undamaged

FILE = "phases.json"
FORMAT = 1

LONG, EXTRA = "-long", "-extra"
"""What the names of the runs beside the search's end with: of its longer trainings, and of those on pseudo labels."""

SUFFIXES = {"search": "", "extra": EXTRA, "extra-folds": EXTRA}
"""Of the runs that phases train in; all others work in that of the longer trainings."""

EXPECTED = "expected on unseen photos"
"""Among the figures of an ensemble: its mIoU there."""


def run_of_phase(run: Path, phase: str) -> Path:
    """Return the folder of the run that a phase works in, given that of the search."""
    return run.with_name(run.name + SUFFIXES.get(phase, LONG))


def longer_runs(run: Path) -> list[Path]:
    """Return the folders of the runs beside a search's that its later phases have left."""
    beside = [run.with_name(run.name + suffix) for suffix in (LONG, EXTRA)]
    return [path for path in beside if (run / FILE).exists() and (path / "search.json").exists()]


@dataclass(frozen=True)
class PhaseResult:
    """What became of a phase that has begun."""

    name: str
    told: str  # what it does, in words
    seconds: float
    ended: bool
    skipped: str  # why it was not needed
    found: dict[str, float]

    def outcome(self) -> str:
        """Return what it has come to, in words."""
        if self.skipped or not self.ended:
            return f"left out: {self.skipped}" if self.skipped else "has not ended"
        return ", ".join(
            # Scores are floats, counts are whole numbers named in the plural.
            f"{name} {value:.4f}" if isinstance(value, float) else counted(value, name.removesuffix("s"))
            for name, value in self.found.items()
        )


@dataclass(frozen=True)
class ChainPhases:
    """What a `phases.json` says of the way to a submission."""

    to: str  # the last phase
    command: str  # that asks for the whole way
    phases: tuple[PhaseResult, ...]  # begun ones, in their order

    def latest(self, figure: str) -> float | None:
        """Return a figure of the last phase that has it, or None."""
        return next((phase.found[figure] for phase in reversed(self.phases) if figure in phase.found), None)


def read_phases(run: RunFolder) -> ChainPhases | None:
    """Return the phases of the way that a run began, or None where it is a search alone.

    Raises:
        DamagedError: phases.json is damaged, or of a later version.
    """
    path = run.path / FILE
    if not path.exists():
        return None
    content = read_record(path, _rule, FORMAT)
    with undamaged(path):
        phases = tuple(
            PhaseResult(
                name=phase["name"],
                told=phase["told"],
                seconds=float(phase.get("seconds", 0.0)),
                ended=phase.get("status") == 0,
                skipped=phase.get("skipped", ""),
                found=dict(phase.get("found", {})),
            )
            for phase in content["phases"]
        )
        words = [*content.get("asked", ()), "--to", content["to"], "--name", run.path.name]
        for name, value in content["limit"].items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        return ChainPhases(content["to"], command_line("search/run.py", *words), phases)


def _rule(content: Any) -> str | None:
    if not isinstance(content, dict) or not isinstance(content.get("phases"), list):
        return "it has no list of phases"
    if not isinstance(content.get("limit"), dict) or not isinstance(content.get("to"), str):
        return "it has no limit, or no phase that it goes to"
    return None
