"""Which process this is, told so that no other container, host or boot can be mistaken for it."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")

Kind = TypeVar("Kind", bound="Identity")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells a process from any other.

    Host names are equal in many containers, and the first process of each has the number 1: so there are the kernel's
    boot and the container's own numbering of processes too. What is not known is None.
    """

    host: str | None = None
    pid: int | None = None
    process_started: int | None = None  # clock ticks since the boot
    boot: str | None = None
    pid_namespace: str | None = None

    @classmethod
    def here(cls: type[Kind]) -> Kind:
        """Return this process's."""
        boot, namespace = numbering()
        started = process_start(os.getpid())
        return cls(
            host=socket.gethostname(), pid=os.getpid(), process_started=started, boot=boot, pid_namespace=namespace
        )

    @classmethod
    def of(cls: type[Kind], content: Mapping[str, Any]) -> Kind:
        """Return what a record says; what this version does not know of is left out."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def content(self) -> dict[str, Any]:
        """Return what is known, as json can hold it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def alive(self) -> bool | None:
        """Tell whether the process lives; None: it cannot be known from here."""
        here = numbering()
        if self.process_started is None or None in here:
            return None
        lives = process_start(self.pid) == self.process_started
        if self.boot is None:  # of an earlier version: equal numbers are no accident, others may be another container's
            return True if lives and self.host == socket.gethostname() else None
        return lives if (self.boot, self.pid_namespace) == here else None


def numbering() -> tuple[str | None, str | None]:
    """Return the boot and the namespace in which a process has the same number as here; None if that is not known."""
    with contextlib.suppress(OSError):
        return BOOT.read_text().strip(), str(NAMESPACE.readlink())
    return None, None


def process_start(pid: int | None) -> int | None:
    """Return when a process of this machine began, in clock ticks since its boot, or None if there is no such one."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return None
