"""Data that is given by URI, copied to this node's cache once."""

import hashlib
import shutil
from pathlib import Path

from filelock import FileLock

from trainable.storage.atomic_write import read_json, write_json
from trainable.storage.remote import Remote, is_uri

WHOLE = ".whole.json"
"""Written last: a folder without it is not whole. It holds the json files' sizes and times at the source."""


def local_data(data: str | Path, cache_dir: Path) -> Path:
    """Return an existing folder as it is, and for a URI its copy in the cache, made now if it is missing or stale.

    Raises:
        ValueError: the URI cannot be opened, or holds nothing.
        OSError: the storage cannot be reached, refuses us, or the disk is full.
    """
    if not is_uri(data):
        return Path(data).absolute()
    remote = Remote(str(data))
    local = cache_dir.absolute() / "data" / hashlib.sha256(remote.uri.encode()).hexdigest()[:24]
    local.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{local}.lock"):
        files = remote.files()
        if not files:
            raise ValueError(f"--data {data} holds no files; name a folder with train_all.json and photos")
        records = [name for name in sorted(files) if "/" not in name and name.endswith(".json")]
        listed = {name: list(files[name]) for name in records}
        marker = local / WHOLE
        if not marker.exists() or read_json(marker) != listed:
            marker.unlink(missing_ok=True)
            need, free = sum(size for size, _ in files.values()), shutil.disk_usage(local.parent).free
            if need > free and not local.exists():
                raise OSError(
                    f"{data} has {need / 1e6:,.0f} MB, {local.parent} {free / 1e6:,.0f} MB free; make room or name "
                    "another disk with --cache-dir"
                )
            remote.pull(local)
            write_json(marker, listed)
    return local
