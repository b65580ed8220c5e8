"""What `trial.json` says of a training, the same from records of every version.

It is written by `TrialFolder.write`, and checked by `status_rule` of `trainable/storage/record_checks.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trainable.storage.checksums import Facts
from trainable.storage.record_checks import TRIAL_FORMAT

RUNNING, FINISHED, STOPPED, FAILED, INTERRUPTED = "running", "finished", "stopped", "failed", "interrupted"
PAUSED, INVALID, OOM = "paused", "invalid", "oom"
"""States of a trial: `finished` had its full budget, `stopped` was ended early, `interrupted` can go on, `paused` made
room for others and may go on.
`invalid` trained something else than its config says, `oom` did not fit into memory, `failed` ended otherwise."""

BROKEN = (FAILED, INVALID, OOM)
ENDED = (FINISHED, STOPPED, *BROKEN)
STATES = (RUNNING, PAUSED, INTERRUPTED, *ENDED)


@dataclass(frozen=True)
class TrialRecord:
    """State of a training, and what came of it; what its time did not tell is None or empty."""

    state: str
    reason: str = ""  # in words
    started: float | None = None  # seconds since 1970, of the last session
    ended: float | None = None
    epochs: int | None = None  # that it had trained when this was written
    waits: bool = False  # put aside: not its config, but a missing file, storage or network kept it from training
    traceback: str = ""
    files: Mapping[str, Facts] = field(default_factory=dict)  # size and checksum of each, once it has ended
    params: Mapping[str, Any] = field(default_factory=dict)  # what the space sampled

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "TrialRecord":
        """Return the record in a `trial.json` that keeps its rule."""
        names = {attribute.name for attribute in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def content(self) -> dict[str, Any]:
        """Return what `trial.json` holds: state and reason, and all else that is known."""
        values = {name: value for name, value in asdict(self).items() if value or (value == 0 and value is not False)}
        return {"format": TRIAL_FORMAT, "state": self.state, "reason": self.reason, **values}
