"""Names the folder of a run that begins, and finds that of one that goes on, on a path or at a URI."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from search.plan import DEFAULT_SPACE
from trainable.artifacts import RunFolder
from trainable.cache import default_cache_dir
from trainable.remote import Remote, is_uri, working_copy


def run_folder(options: dict[str, Any]) -> RunFolder:
    """Return the folder of the run, new or to be resumed.

    Raises:
        ValueError: a new run's name is taken or not a plain name, or there is nothing to resume.
    """
    if is_uri(options.get("runs_dir")):
        return _remote_run(options)
    root = Path(options.get("runs_dir", "runs")).absolute()
    earlier = options.get("resume") or options.get("confirm")
    if earlier:
        run = RunFolder(root / earlier)
        if not (run.path / "search.json").exists() and Path(earlier).is_dir():
            run = RunFolder(Path(earlier).absolute())
        if not (run.path / "search.json").exists():
            known = ", ".join(sorted(path.parent.name for path in root.glob("*/search.json"))) or "none"
            raise ValueError(f"no run {earlier} in {root}; the runs there are: {known}")
        return run
    name = _new_name(options)
    if (root / name).exists():
        raise ValueError(f"run {name} exists in {root}; choose another --name, or go on with it by --resume {name}")
    return RunFolder(root / name)


def default_name(options: dict[str, Any]) -> str:
    """Return the name of a run that was given none."""
    return f"{options.get('space', DEFAULT_SPACE)}-{datetime.now():%Y%m%d-%H%M%S}"


def _new_name(options: dict[str, Any]) -> str:
    name = options.get("name") or default_name(options)
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"--name must be a plain folder name, found {name!r}")
    return name


def _remote_run(options: dict[str, Any]) -> RunFolder:
    """Return the working copy of a run at a URI; one that is to go on is brought there."""
    earlier = options.get("resume") or options.get("confirm")
    name = earlier or _new_name(options)
    if "keep_gb" in options:
        raise ValueError(f"--keep-gb counts files on a path, --runs-dir is {options['runs_dir']}; leave --keep-gb out")
    root, cache_dir = Remote(str(options["runs_dir"])), options.get("cache_dir", default_cache_dir())
    remote = root / name
    run = RunFolder(working_copy(remote.uri, cache_dir), remote.uri)
    there = remote.exists("search.json")
    if earlier and not there:
        raise ValueError(f"no run {name} in {root.uri}; the runs there are: {', '.join(root.folders()) or 'none'}")
    if not earlier and there:
        raise ValueError(f"run {name} exists in {root.uri}; choose another --name, or go on with it by --resume {name}")
    if earlier:
        remote.pull(run.path, leave=(".safetensors", ".parquet", ".npz"))
    elif run.path.exists():
        shutil.rmtree(run.path)  # what is left of a run of that name that was removed
    return run
