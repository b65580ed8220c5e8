"""One hash of all that a data folder holds, the same on every machine that has the same data."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainable.formats.reading import data_files
from trainable.images.photo_files import photo_path
from trainable.machine.cores import cpu_count
from trainable.storage.checksums import file_facts


def data_hash(root: Path) -> str:
    """Return sha256 over the files of labels and photos of a data folder; times of change do not count.

    Raises:
        DataError: there is no such folder, none of a known format, or its files of labels cannot be read.
    """
    names = data_files(root)
    digest = hashlib.sha256()
    with ThreadPoolExecutor(2 * cpu_count()) as pool:  # hashing lets go of Python's lock
        for name, file_hash in zip(names, pool.map(lambda name: _of(photo_path(root, name)), names), strict=True):
            digest.update(f"{name} {file_hash}\n".encode())
    return digest.hexdigest()


def _of(path: Path) -> str:
    try:
        return file_facts(path)["sha256"]
    except OSError:
        return "missing"
