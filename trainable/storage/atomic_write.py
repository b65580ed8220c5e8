"""Writes files so that a reader sees a whole one or none: to a temporary file, which is synced and renamed."""

import json
import os
import threading
from pathlib import Path
from typing import Any

from trainable.storage.disk_full import with_room


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a power cut at any moment leaves the old content or the new, never a part."""
    with_room(lambda: _write(path, content), path)


def _write(path: Path, content: bytes) -> None:
    temporary = temporary_of(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def temporary_of(path: Path) -> Path:
    """Return where a file is written before it is renamed: of one thread, as two would take each other's away."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write a json file atomically. NaN is refused: it is not json."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a json file."""
    return json.loads(path.read_bytes())
