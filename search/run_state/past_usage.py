"""What earlier sessions of a run have spent, as its `hours.json` says; nothing of Ray is needed to read it."""

import contextlib
from typing import Any

from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import read_json

FILE = "hours.json"


def read_hours(run: RunFolder) -> dict[str, Any]:
    """Return what earlier sessions of a run have written."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json(run.path / FILE)
        kinds = {"unit": str, "per_trial": float, "sessions": list, "held": dict}
        return {name: kind(found[name]) for name, kind in kinds.items()} | {"shares": found.get("shares", {})}
    return {"unit": "hours", "per_trial": 1.0, "sessions": [], "held": {}, "shares": {}}


def total(sessions: list[dict[str, float]], since: float = 0.0) -> float:
    """Return the hours of sessions: the share of the machine, times the time it was held.

    Args:
        sessions: as `hours.json` has them.
        since: seconds since 1970 from which on sessions count.
    """
    counted = [each for each in sessions if each["began"] >= since]
    return sum((each["ended"] - each["began"]) * each["size"] for each in counted) / 3600
