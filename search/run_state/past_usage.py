"""What earlier sessions of a run have spent, as its `hours.json` says; nothing of Ray is needed to read it."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import read_json, write_json

FILE = "hours.json"
FORMAT = 1


@dataclass(frozen=True)
class Held:
    """One session's hold of the machine."""

    began: float  # seconds since 1970
    ended: float
    size: float  # GPUs, or cores where there are none


@dataclass(frozen=True)
class Usage:
    """All of `hours.json`."""

    unit: str = "hours"  # GPU-hours or core-hours
    per_trial: float = 1.0  # GPUs, or cores, of a trial where `shares` has none
    sessions: tuple[Held, ...] = ()
    held: Mapping[str, float] = field(default_factory=dict)  # seconds, by trial
    shares: Mapping[str, float] = field(default_factory=dict)  # of a GPU, by trial, where they are packed
    format: int = FORMAT

    def total(self, since: float = 0.0) -> float:
        """Return the hours of the sessions: the share of the machine, times the time it was held.

        Args:
            since: seconds since 1970 from which on sessions count.
        """
        return (
            sum((session.ended - session.began) * session.size for session in self.sessions if session.began >= since)
            / 3600
        )

    def of_trials(self) -> float | None:
        """Return the seconds for which trials held their share, further folds not counted; None: it is not known."""
        return sum(seconds for name, seconds in self.held.items() if "/" not in name) if self.held else None

    def write(self, run: RunFolder) -> None:
        """Write `hours.json`."""
        write_json(run.path / FILE, asdict(self))


def read_usage(run: RunFolder) -> Usage:
    """Return what earlier sessions of a run have written; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = read_json(run.path / FILE)
        sessions = tuple(Held(float(s["began"]), float(s["ended"]), float(s["size"])) for s in content["sessions"])
        held, shares = dict(content["held"]), dict(content.get("shares", {}))
        return Usage(str(content["unit"]), float(content["per_trial"]), sessions, held, shares)
    return Usage()
