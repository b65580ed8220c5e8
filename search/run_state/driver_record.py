"""What the process that drives a run says of itself in `driver.json`, the same from records of every version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.run_state.process import Identity
from trainable.storage.record_checks import is_count

DRIVER = "driver.json"
"""The heartbeat in a run's folder."""

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Share:
    """What trials get of a machine, as `search/status.py` shows it."""

    cores: int | None = None
    gpus: int | None = None
    nodes: int | None = None
    job: str | None = None  # under which Ray Jobs started the process
    concurrent: int | None = None  # trials at once
    gpus_per_trial: float | None = None


@dataclass(frozen=True, kw_only=True)
class DriverRecord(Identity, Share):
    """A heartbeat: who drives a run, since when, and when it was seen last; of a claim the first part alone."""

    format: int = FORMAT
    folder: int | None = None  # the run folder's inode: a copy of the folder is another run
    claim: int = 0  # number of the claim that it holds
    started: float | None = None  # seconds since 1970
    beat: int | None = None  # how often it was written
    seen: float | None = None
    ended: float | None = None  # None: it has not said that it ended
    end: str | None = None  # which of `search/ending/endings.py`
    why: str | None = None  # that in words

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "DriverRecord":
        """Return the record that is in a `driver.json`, or in a claim.

        Raises:
            ValueError: it is of another kind than what a driver writes.
        """
        record = super().of(content)
        times = (record.started, record.seen, record.ended)
        if not all(moment is None or isinstance(moment, int | float) for moment in times) or not is_count(record.claim):
            raise ValueError("times must be seconds and claim a whole number")
        return record

    @property
    def known(self) -> bool:
        """Whether anything is: a run that was never driven has no record."""
        return self != type(self)()
