"""Which process this is, told so that no other container, host or boot can be mistaken for it."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


def identity() -> dict[str, Any]:
    """Return what tells this process from any other, as json can hold it.

    Host names are equal in many containers, and the first process of each has the number 1: so there are the kernel's
    boot and the container's own numbering of processes too.
    """
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_started": process_start(os.getpid()), **place()}


def place() -> dict[str, str]:
    """Return where numbers of processes mean the same as here; {} if the system does not tell."""
    with contextlib.suppress(OSError):
        return {"boot": BOOT.read_text().strip(), "pid_namespace": str(NAMESPACE.readlink())}
    return {}


def is_alive(told: dict[str, Any]) -> bool | None:
    """Tell whether the process that an `identity` is of lives; None: it cannot be known from here."""
    started, here = told.get("process_started"), place()
    if started is None or not here:
        return None
    lives = process_start(told.get("pid", -1)) == started
    if "boot" not in told:  # of an earlier version: equal numbers are no accident, others may be another container's
        return True if lives and told.get("host") == socket.gethostname() else None
    return lives if all(told.get(name) == value for name, value in here.items()) else None


def process_start(pid: int) -> int | None:
    """Return when a process of this machine began, in clock ticks since its boot, or None if there is no such one."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return None
