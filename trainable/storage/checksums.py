"""Size and checksum of the files of a training, so that damage is found before it is used."""

import hashlib
from pathlib import Path
from typing import Any

LEFT_OUT = ("trial.json", "previous.safetensors", "part.safetensors", "events.")
"""Files whose names begin like this: the record itself, states that go when a trial ends, and TensorBoard's log."""

Facts = dict[str, Any]
"""`bytes` and `sha256` of a file."""


class Manifest:
    """The files of one folder; what has not changed since the last look is not read again."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[tuple[str, int, int], Facts] = {}

    def facts(self) -> dict[str, Facts]:
        """Return the facts of every file that is an artifact, by name."""
        current: dict[tuple[str, int, int], Facts] = {}
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and not path.name.startswith((".", *LEFT_OUT)):
                stat = path.stat()
                key = (path.name, stat.st_size, stat.st_mtime_ns)
                current[key] = self.known.get(key) or file_facts(path)
        self.known = current
        return {name: facts for (name, _, _), facts in current.items()}


def file_facts(path: Path) -> Facts:
    """Return size and checksum of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}
