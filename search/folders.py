"""Names the folder of a run that begins, and finds that of one that goes on, on a path or at a URI."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from search.arguments import GOES_ON
from search.plan import DEFAULT_SPACE
from trainable.artifacts import RunFolder
from trainable.cache import default_cache_dir
from trainable.remote import Remote, is_uri, working_copy


def run_folder(options: dict[str, Any]) -> RunFolder:
    """Return the folder of the run, new or to be resumed.

    Raises:
        ValueError: a new run's name is taken or not a plain name, or there is nothing to resume.
    """
    if earlier := earlier_name(options):
        return there(options, earlier)
    if is_uri(options.get("runs_dir")):
        return _new_remote_run(options)
    root = Path(options.get("runs_dir", "runs")).absolute()
    name = _new_name(options)
    if (root / name).exists():
        raise ValueError(f"run {name} exists in {root}; choose another --name, or go on with it by --resume {name}")
    return RunFolder(root / name)


def there(options: dict[str, Any], name: str) -> RunFolder:
    """Return an earlier run's folder, by its name or path; what is at a URI is brought, but for large files.

    Raises:
        ValueError: there is none.
    """
    if is_uri(options.get("runs_dir")):
        return _earlier_remote_run(options, name)
    root = Path(options.get("runs_dir", "runs")).absolute()
    run = RunFolder(root / name)
    if not (run.path / "search.json").exists() and Path(name).is_dir():
        run = RunFolder(Path(name).absolute())
    if not (run.path / "search.json").exists():
        known = ", ".join(sorted(path.parent.name for path in root.glob("*/search.json"))) or "none"
        raise ValueError(f"no run {name} in {root}; the runs there are: {known}")
    return run


def earlier_runs(options: dict[str, Any]) -> list[RunFolder]:
    """Return the runs that a new search is to start warm from.

    Raises:
        ValueError: there is none of a name, or one comes twice.
    """
    runs = [there(options, name) for name in options.get("warm_start", ())]
    names = [run.path.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--warm-start names run {twice[0]} twice; leave one out")
    return runs


def earlier_name(options: dict[str, Any]) -> str | None:
    """Return the name of the run that the options go on with, or None for a new one."""
    return next((options[name] for name in GOES_ON if name in options), None)


def default_name(options: dict[str, Any]) -> str:
    """Return the name of a run that was given none."""
    return f"{options.get('space', DEFAULT_SPACE)}-{datetime.now():%Y%m%d-%H%M%S}"


def _new_name(options: dict[str, Any]) -> str:
    name = options.get("name") or default_name(options)
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"--name must be a plain folder name, found {name!r}")
    return name


def _remote(options: dict[str, Any], name: str) -> tuple[Remote, RunFolder]:
    """Return a run at a URI and its working copy."""
    if "keep_gb" in options:
        raise ValueError(f"--keep-gb counts files on a path, --runs-dir is {options['runs_dir']}; leave --keep-gb out")
    remote = Remote(str(options["runs_dir"])) / name
    return remote, RunFolder(working_copy(remote.uri, options.get("cache_dir", default_cache_dir())), remote.uri)


def _earlier_remote_run(options: dict[str, Any], name: str) -> RunFolder:
    remote, run = _remote(options, name)
    if not remote.exists("search.json"):
        root = Remote(str(options["runs_dir"]))
        raise ValueError(f"no run {name} in {root.uri}; the runs there are: {', '.join(root.folders()) or 'none'}")
    remote.pull(run.path, leave=(".safetensors", ".parquet", ".npz"))
    return run


def _new_remote_run(options: dict[str, Any]) -> RunFolder:
    name = _new_name(options)
    remote, run = _remote(options, name)
    if remote.exists("search.json"):
        root = str(options["runs_dir"]).rstrip("/")
        raise ValueError(f"run {name} exists in {root}; choose another --name, or go on with it by --resume {name}")
    if run.path.exists():
        shutil.rmtree(run.path)  # what is left of a run of that name that was removed
    return run
