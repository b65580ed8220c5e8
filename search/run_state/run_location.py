"""Names the folder of a run that begins, and finds that of one that goes on, on a path or at a URI."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from search.run_state.driver_claim import DRIVER, DrivenError, Tell, forget, heartbeat, is_claim
from search.run_state.heartbeat import Heartbeat, claimed
from search.run_state.run_names import check_name, check_root, check_run_exists, path_exists
from search.settings.plan import DEFAULT_SPACE
from search.settings.settings import GOES_ON, Settings
from trainable.run_folder.folders import RunFolder
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.remote import Remote, is_uri, working_copy

LARGE = (".safetensors", ".parquet", ".npz")
"""Files of a run at a URI that its driver does not need."""


def run_folder(settings: Settings) -> RunFolder:
    """Return the folder of the run, new or to be resumed; nothing is written to it.

    Raises:
        ValueError: a new run's name is taken or not a plain name, or there is nothing to resume.
    """
    if (earlier := earlier_name(settings)) is not None:
        return earlier_run_folder(settings, earlier)
    run = folder_named(settings, _new_name(settings))
    if settings.name is not None:
        check_free(run)
    return run


@contextmanager
def driven(settings: Settings, run: RunFolder, tell: Tell) -> Iterator[tuple[RunFolder, Heartbeat]]:
    """Claim the run that goes on, or reserve the name of a new one; no other search drives it from then on.

    Where no run has come of the name at the end, nothing is left of it.

    Args:
        settings: as given.
        run: as `run_folder` gave it; a new one that was given no name gets another where two begin in one second.
        tell: told of what takes seconds.

    Raises:
        ValueError: another search drives the run, or the name is taken by now.
    """
    if earlier_name(settings) is not None:
        with claimed(run, tell) as beat:
            if run.uri:  # what another driver has written meanwhile
                Remote(run.uri).pull(run.path, leave=LARGE)
            yield run, beat
        return
    for number in count(2):
        created = _missing_parents(run.path)
        try:
            check_free(run)
            run.path.mkdir(parents=True, exist_ok=True)
            beat = claimed(run, tell)
            check_free(run)  # another search may have come and gone
            break
        except ValueError:
            if settings.name is not None:
                raise
            run = folder_named(settings, f"{default_name(settings)}-{number}")
    try:
        if run.uri and run.path.exists():
            shutil.rmtree(run.path)  # what is left of a run of that name that was removed
            run.path.mkdir()
        with beat:
            yield run, beat
    finally:
        if not (run.path / "search.json").exists():
            give_back(run, created)


def earlier_run_folder(settings: Settings, name: str) -> RunFolder:
    """Return an earlier run's folder, by its name or path; what is at a URI is brought, but for large files.

    Raises:
        ValueError: there is none, or its search.json is damaged.
    """
    if is_uri(settings.runs_dir):
        return _earlier_remote_run(settings, name)
    root = _root(settings)
    run = RunFolder(root / name)
    if not path_exists(run.path / "search.json") and path_exists(Path(name, "search.json")):
        run = RunFolder(Path(name).absolute())
    check_run_exists(run, name, root)
    return run


def earlier_runs(settings: Settings) -> list[RunFolder]:
    """Return the runs that a new search is to start warm from.

    Raises:
        ValueError: there is none of a name, or one comes twice.
    """
    runs = [earlier_run_folder(settings, name) for name in settings.warm_start]
    names = [run.path.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--warm-start names run {twice[0]} twice; leave one out")
    return runs


def earlier_name(settings: Settings) -> str | None:
    """Return the name of the run that the settings go on with, or None for a new one."""
    return next(iter(settings.given(GOES_ON).values()), None)


def default_name(settings: Settings) -> str:
    """Return the name of a run that was given none."""
    names = (settings.space or DEFAULT_SPACE).split("+")
    of = "+".join(name.rpartition(":")[2] for name in names)  # of FILE.py:FUNCTION the function
    if settings.promote:
        of = f"{Path(settings.promote).name}-long"
    return f"{of}-{datetime.now():%Y%m%d-%H%M%S}"


def _new_name(settings: Settings) -> str:
    return check_name(settings.name) if settings.name is not None else default_name(settings)


def _root(settings: Settings) -> Path:
    """Return the folder of the runs, where that is no URI."""
    return check_root(Path(settings.runs_dir).absolute())


def folder_named(settings: Settings, name: str) -> RunFolder:
    """Return the folder that a run of a name has, be it there or not."""
    if is_uri(settings.runs_dir):
        return _remote(settings, name)[1]
    return RunFolder(_root(settings) / name)


def check_free(run: RunFolder) -> None:
    """Refuse a name whose folder holds anything but what is left of a search that came to nothing."""
    if run.uri:
        taken, root = Remote(run.uri).exists("search.json"), run.uri.rsplit("/", 1)[0]
    else:
        names = [path.name for path in run.path.iterdir()] if run.path.is_dir() else []
        taken, root = any(not _is_of_driver(name) for name in names) or run.path.is_file(), str(run.path.parent)
    if taken:
        name = run.path.name
        raise ValueError(f"run {name} exists in {root}; choose another --name, or go on with it by --resume {name}")


def _is_of_driver(name: str) -> bool:
    return is_claim(name) or name in (DRIVER, f".{DRIVER}.tmp", "stop.json", "phases.json")


def _missing_parents(path: Path) -> list[Path]:
    """Return the folders above a path that are not there, the lowest first."""
    return [folder for folder in path.parents if not folder.exists()]


def give_back(run: RunFolder, made: Sequence[Path] = ()) -> None:
    """Remove the folder of a name that no run has come of, and those above it that were made for it."""
    for name in (DRIVER, "stop.json") if run.uri else ():
        with suppress(OSError):
            Remote(str(run.uri)).delete(name)
    forget(run)
    with suppress(OSError):
        shutil.rmtree(run.path)
        for folder in made:
            folder.rmdir()


def _remote(settings: Settings, name: str) -> tuple[Remote, RunFolder]:
    """Return a run at a URI and its working copy."""
    if settings.keep_gb is not None:
        raise ValueError(f"--keep-gb counts files on a path, --runs-dir is {settings.runs_dir}; leave --keep-gb out")
    remote = Remote(str(settings.runs_dir)) / name
    return remote, RunFolder(working_copy(remote.uri, settings.cache_dir or default_cache_dir()), remote.uri)


def _earlier_remote_run(settings: Settings, name: str) -> RunFolder:
    remote, run = _remote(settings, name)
    if not remote.exists("search.json"):
        root = Remote(str(settings.runs_dir))
        raise ValueError(f"no run {name} in {root.uri}; the runs there are: {', '.join(root.folders()) or 'none'}")
    here = heartbeat(RunFolder(run.path))
    if here.ended is None and here.alive():  # its working copy is newer than what is at the URI
        if name == earlier_name(settings):
            raise DrivenError(f"run {name} is driven by process {here.pid} of this machine; stop that, or wait")
        return run
    remote.pull(run.path, leave=LARGE)
    return run
