"""Where what is cached for good lies on this machine."""

import os
from contextlib import suppress
from pathlib import Path


def default_cache_dir() -> Path:
    """Return the user's cache folder for this tool.

    Raises:
        ValueError: this user has no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trashsweep"
    except RuntimeError as error:
        raise ValueError(
            "this user has no home folder, so there is no place for the cache of decoded photos: set HOME to a folder "
            "that you can write to, or pass --cache-dir DIR"
        ) from error


def is_default_cache_dir(path: str | Path) -> bool:
    """Tell whether a folder is where caches are kept without --cache-dir."""
    with suppress(ValueError):
        return Path(path) == default_cache_dir()
    return False
