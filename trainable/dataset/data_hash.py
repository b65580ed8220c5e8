"""One hash of all that a data folder holds, the same on every machine that has the same data."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainable.coco.json_file import listed_names
from trainable.data_errors import DataError, Problem
from trainable.images.photo_files import name_fault, photo_path
from trainable.machine.cores import cpu_count
from trainable.storage.checksums import file_facts

RECORDS = ("train_all.json", "train.json", "val.json", "test.json")


def data_hash(root: Path) -> str:
    """Return sha256 over the json files of a data folder and the photos they list; times of change do not count.

    Raises:
        DataError: there is no such folder, no json file in it, or one that is no COCO json.
    """
    records = [name for name in RECORDS if (root / name).is_file()]
    if not records:
        raise DataError(root, (Problem(None, f"{root} is no data folder: it has none of {', '.join(RECORDS)}"),))
    photos = sorted({file_name for name in records for file_name in listed_names(root / name)})
    if faults := [Problem(name, f"a photo {fault}") for name in photos if (fault := name_fault(name))]:
        raise DataError(root, tuple(faults))
    digest = hashlib.sha256()
    with ThreadPoolExecutor(2 * cpu_count()) as pool:  # hashing lets go of Python's lock
        names = [*records, *photos]
        for name, file_hash in zip(names, pool.map(lambda name: _of(photo_path(root, name)), names), strict=True):
            digest.update(f"{name} {file_hash}\n".encode())
    return digest.hexdigest()


def _of(path: Path) -> str:
    try:
        return file_facts(path)["sha256"]
    except OSError:
        return "missing"
