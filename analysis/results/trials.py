"""What leaderboard, report and notebook know of the trials of one or more runs; `reading.py` reads it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from numpy.typing import NDArray

from trainable.classes import Classes
from trainable.counts import have_ended
from trainable.geometry import Geometry
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import BROKEN, ENDED, STOPPED
from trainable.storage.record_checks import DAMAGE

Part = TypeVar("Part")

ALL_ENDED = "all trials have ended"
"""Why a search ends that is done; of a race, which may come after a search whose time was over, it says nothing."""


@dataclass(frozen=True)
class Trial:
    """One trial as its folder tells of it."""

    folder: TrialFolder
    label: str  # its number; run/number among several runs
    state: str
    reason: str
    budget: int  # epochs
    curve: list[dict[str, float]]
    params: dict[str, Any]
    config: dict[str, Any]  # empty before the training began
    confusion: dict[str, NDArray[Any]] | None  # photos sorted by name; None where unreadable or not written yet
    parameters: int | None  # numbers the optimizer trains
    notes: list[str]

    @property
    def best(self) -> dict[str, float] | None:
        """The row of its best epoch."""
        return max(self.curve, key=lambda row: row["val_miou"], default=None)

    @property
    def ranked(self) -> bool:
        """Whether it has a val_miou that counts: one that failed or trained something else has none."""
        return not self.broken and bool(self.curve)

    @property
    def broken(self) -> bool:
        """Whether it failed, did not fit into memory or trained something else than asked."""
        return self.state in BROKEN

    @property
    def seconds(self) -> float:
        """Of training and validation."""
        return sum(row["train_s"] + row["val_s"] for row in self.curve)

    @property
    def gpu_hours(self) -> float:
        """Of training and validation; 0 on a CPU."""
        return self.seconds / 3600 if self.config.get("device") == "cuda" else 0.0

    @property
    def peak_memory_mb(self) -> float | None:
        """The most memory of any epoch: the device's on a GPU, the process's on a CPU."""
        return max((row["peak_memory_mb"] for row in self.curve), default=None)


@dataclass
class Trials:
    """All trials of the runs, and what could not be read of them."""

    runs: list[RunFolder]
    searches: list[SearchRecord]
    trials: list[Trial] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def part(self, read: Callable[[], Part], what: str) -> Part | None:
        """Return what `read` reads, or None where it cannot be read, which is noted."""
        try:
            return read()
        except DAMAGE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.problems.append(f"{what}: {reason}")
            return None

    @property
    def classes(self) -> Classes:
        """The classes of all runs."""
        return self.searches[0].classes

    @property
    def geometry(self) -> Geometry:
        """The frames of the first run's photos; all are scored at the same place."""
        return self.searches[0].geometry

    def saved_epochs(self) -> int:
        """Return the epochs that stopped trials were spared."""
        return sum(max(trial.budget - len(trial.curve), 0) for trial in self.trials if trial.state == STOPPED)

    def going_on(self) -> str:
        """Say which trials have not ended yet; empty where the runs are over."""
        return "" if self._over() else self._left("still going on, or interrupted: {}")

    def ended_early(self) -> str:
        """Say why runs are over before all trials have ended; empty where these have, or where a run goes on."""
        ends = self._over()
        whys = [end for end in dict.fromkeys(ends) if end and end != ALL_ENDED]
        return self._left(f"over ({', '.join(whys)}): {{}}" if whys else "over: {}") if ends else ""

    def unfinished(self) -> str:
        """Say how the runs stand where some trials have not ended; empty where all have."""
        return self.going_on() or self.ended_early()

    def _over(self) -> list[str]:
        """Return why each run's search has ended, or nothing where one has not said that it did."""
        ends = [run.driver_end() for run in self.runs]
        return [end for end in ends if end is not None] if None not in ends else []

    def _left(self, told: str) -> str:
        live = [trial.label for trial in self.trials if trial.state not in ENDED]
        asked = sum(search.trials for search in self.searches)
        if not live and len(self.trials) >= asked:
            return ""
        return told.format(have_ended(len(self.trials) - len(live), max(asked, len(self.trials))))
