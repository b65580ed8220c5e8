"""Times several ways of doing the same side by side."""

import time
from collections.abc import Callable, Mapping


def median_seconds(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Return each way's median; the ways take turns, so that a busy moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + warm_up):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: sorted(times)[rounds // 2] for name, times in seconds.items()}
