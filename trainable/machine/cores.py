"""How many cores there are to use."""

import os
from pathlib import Path


def cpu_count() -> int:
    """Return the cores this process may use: fewer than the machine's in a container or under taskset."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD", microseconds of CPU per microseconds of time
    if limit.exists():
        quota, period = limit.read_text().split()
        if quota != "max":
            return max(1, min(allowed, int(quota) // int(period)))
    return allowed
