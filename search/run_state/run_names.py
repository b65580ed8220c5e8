"""What a run may be called, where runs may be, and what is said of a run that is not there."""

import os
from pathlib import Path

from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DamagedError

LONGEST = 240
"""Bytes of a name: file systems take 255, and temporary files and locks put some before or behind it."""

NO_RECORD = (
    "has trials and no search.json, which says what was searched: bring it back from a copy of the folder; without it "
    "the run cannot go on"
)


def check_name(name: str) -> str:
    """Return the name that a new run is given.

    Raises:
        ValueError: no folder can be called so, or none that can be typed and read.
    """
    if Path(name).name != name or name.startswith((".", "-")):
        raise ValueError(f"--name must be a plain folder name, found {name!r}")
    if not name.isprintable() or name != name.strip():
        raise ValueError(
            f"--name must be of printable characters, without a blank at its beginning or end, found {name!r}; leave "
            "these out"
        )
    if (length := len(os.fsencode(name))) > LONGEST:
        raise ValueError(f"--name must be at most {LONGEST} bytes long, found {length}; choose a shorter one")
    return name


def check_root(root: Path) -> Path:
    """Return the folder of the runs, which need not exist yet.

    Raises:
        ValueError: it is a file, or below one.
    """
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        raise ValueError(f"--runs-dir {root}: {nearest} is a file, not a folder; name a folder, or leave it out")
    return root


def runs_in(root: Path) -> list[Path]:
    """Return the folders of runs by name, those that have lost their search.json too."""
    return sorted({path.parent for pattern in ("*/search.json", "*/trials") for path in root.glob(pattern)})


def claimed_in(root: Path) -> list[Path]:
    """Return the folders by name that a search has claimed, runs and those that none has come of yet."""
    return sorted({path.parent for pattern in ("*/driver.json", "*/phases.json") for path in root.glob(pattern)})


def check_run_exists(run: RunFolder, name: str, root: Path) -> None:
    """See that a run has a search.json that can be read.

    Args:
        run: its folder.
        name: as it was asked for.
        root: the folder of the runs.

    Raises:
        ValueError: there is no such run, or the file is missing or damaged, with what to do.
    """
    record = run.path / "search.json"
    if path_exists(record):
        try:
            run.search()
        except DamagedError as error:
            raise ValueError(f"{error}; bring it back from a copy of the folder, or start a new run") from error
        return
    names = ", ".join(path.parent.name for path in sorted(root.glob("*/search.json"))) or "none"
    if path_exists(run.path / "trials"):
        raise ValueError(f"{run.path} {NO_RECORD}. The other runs there are: {names}")
    raise ValueError(f"no run {name} in {root}; the runs there are: {names}")


def path_exists(path: Path) -> bool:
    """Tell whether a path exists; one that is too long for the system does not."""
    try:
        return path.exists()
    except OSError:
        return False
