"""What Ray needs of this machine or of a cluster's address, said in a line before Ray is imported."""

import os
import socket
import tempfile
from pathlib import Path

ANSWER_S = 5
"""Seconds in which a cluster's head has to answer."""

SOCKET_BYTES = 107
"""Longest path of a Unix socket on Linux."""

SOCKET = "ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest path that Ray binds below its folder for temporary files."""

SHARED_MEMORY = Path("/dev/shm")


def check_ray_needs(address: str, local: str) -> None:
    """See that a Ray can start here, or that a cluster answers.

    Args:
        address: of a cluster, or `local`.
        local: the address of a Ray that a search starts for itself.

    Raises:
        ValueError: Ray would not start, or could not be joined: why, and what to do.
    """
    if address == local:
        check_temporary()
        check_shared_memory(SHARED_MEMORY)
    elif address != "auto":
        check_answers(address)


def check_temporary() -> None:
    """See that the folder for temporary files can be written to, and that the sockets' paths below it are short."""
    root = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray does
    path = f"{root}/{SOCKET.format(pid=os.getpid())}"
    if (over := len(os.fsencode(path)) - SOCKET_BYTES) > 0:
        most = len(os.fsencode(root)) - over
        raise ValueError(
            f"the folder for temporary files, {root}, has {len(os.fsencode(root))} characters and Ray's sockets there "
            f"can take {most}: set TMPDIR or RAY_TMPDIR to a shorter path, such as /tmp"
        )
    try:
        Path(root).mkdir(parents=True, exist_ok=True)  # as Ray does
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ValueError(
            f"the folder for temporary files, {root}, cannot be written to ({error.strerror}): set TMPDIR or "
            "RAY_TMPDIR to a folder that you can write to, such as /tmp"
        ) from error


def check_shared_memory(folder: Path) -> None:
    """See that Ray's objects can be kept in memory; where there is little of it, Ray takes files instead."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{folder}, where Ray keeps its objects, cannot be written to ({error.strerror}): mount it writable and "
            "with room (docker run --shm-size=1g), or remove what fills it"
        ) from error


def check_answers(address: str) -> None:
    """See within seconds that something listens there: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError(f"--address {address}: it takes HOST:PORT, or auto: the cluster of this machine")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S):
            pass
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"--address {address}: nothing answers there ({error}). Start a cluster (ray up cluster.yaml, or "
            "RAY_AUTH_MODE=token ray start --head), and search from a machine in its network, or --submit through its "
            "dashboard"
        ) from error
