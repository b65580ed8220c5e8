"""Spaces of your own: any function of an Optuna trial that returns parts of a trial's config.

    --space my_space.py:wide            # the function `wide` of a file
    search(space=wide)                  # the same from Python

    def wide(trial):
        return {"optimizer": {"name": "adamw", "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True)}}

The parts are those of `trainable/config.py`. The function's attribute `first_trials`, where it has one, lists values to
try before anything else. Such code runs where it is named on the command line or in Python, and nowhere else: a run
folder that names it does not make it run.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

Sample = Callable[[optuna.Trial], dict[str, Any]]

PYTHON = "python"
"""Stands for the file of a function that has none, as in a notebook."""

OURS = ("spaces", "search", "trainable")
"""Packages whose errors are not those of a function that has called them."""

PASSES_ON = "spaces.begun"
"""Asks Optuna what a function asks the trial."""

_known: dict[str, Sample] = {}
"""By name, FILE:FUNCTION."""


class OwnSpaceError(ValueError):
    """A function of the user's own has raised an error, or gives what no trial can be trained with."""


def is_own(name: str) -> bool:
    """Tell whether a space's name is that of a function: FILE.py:FUNCTION."""
    return ":" in name


def load(name: str) -> str:
    """Import the function that FILE.py:FUNCTION names; returns its name as it is recorded, with the whole path.

    Raises:
        ValueError: there is no such file or function, or the file cannot be imported.
    """
    file, _, function = name.rpartition(":")
    path = Path(file).resolve()
    if file == PYTHON:
        raise ValueError(f"--space {name} is a function of a Python session: go on there, by search(..., space=...)")
    if path.suffix != ".py" or not function.isidentifier():
        raise ValueError(f"--space {name}: a space of your own is written FILE.py:FUNCTION")
    if not path.is_file():
        raise ValueError(f"--space {name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"trashsweep_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--space {name}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for what it imports from beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"--space {name}: {path} cannot be imported ({type(error).__name__}: {error})") from error
    sample = getattr(module, function, None)
    if not callable(sample):
        functions = ", ".join(sorted(key for key, value in vars(module).items() if inspect.isfunction(value)))
        raise ValueError(f"--space {name}: {path.name} has no function {function}; it has {functions or 'none'}")
    _known[f"{path}:{function}"] = sample
    return f"{path}:{function}"


def register(sample: Sample) -> str:
    """Make a function a space for this process; returns its name as it is recorded."""
    function = getattr(sample, "__name__", type(sample).__name__)
    try:
        file = inspect.getsourcefile(sample) or ""
    except TypeError:
        file = ""
    path = Path(file).resolve() if getattr(sample, "__qualname__", "") == function else Path()
    name = f"{path if path.suffix == '.py' and path.is_file() else PYTHON}:{function}"
    _known[name] = sample
    return name


def is_known(name: str) -> bool:
    """Tell whether a function was named on the command line or in Python, so that it may run."""
    return name in _known


def find(name: str) -> Sample:
    """Return the function of a space.

    Raises:
        ValueError: it was not named on the command line or in Python.
    """
    if name not in _known:
        raise ValueError(
            f"space {name} is code of your own, which a run folder alone does not make run: add --space {name}"
        )
    return _known[name]


def first_trials(name: str) -> tuple[dict[str, Any], ...]:
    """Return the values that a space's function wants tried before anything else.

    Raises:
        OwnSpaceError: they are no list of dicts.
    """
    given = getattr(find(name), "first_trials", ())
    if not isinstance(given, list | tuple) or not all(isinstance(values, Mapping) for values in given):
        raise OwnSpaceError(
            f"--space {name}: first_trials must be a list of dicts, each of values by name, found {given!r:.100}"
        )
    return tuple(dict(values) for values in given)


def sampler(name: str) -> Sample:
    """Return the function of a space, whose errors are told as the function's.

    What it returns raises OwnSpaceError where the function fails, or returns no dict.
    """
    function = find(name)

    def sample(trial: optuna.Trial) -> dict[str, Any]:
        try:
            parts = function(trial)
        except Exception as error:
            if not _is_its_own(error):
                raise
            raise OwnSpaceError(
                f"--space {name} raised {type(error).__name__}: {error} ({_line(error)}): mend the function, which "
                "must return a config for all values that a trial may give it"
            ) from error
        if not isinstance(parts, Mapping):
            raise OwnSpaceError(
                f"--space {name} returned {parts!r:.100}: it must return a dict of parts of a trial's config, such as "
                '{"loss": {"name": "dice"}}'
            )
        return dict(parts)

    return sample


def _is_its_own(error: Exception) -> bool:
    """Tell whether an error is the function's: not one of what it calls here, nor of the disk that a study is on."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    if isinstance(error, OSError) and any(module.startswith("optuna.") for module in modules):
        return False
    while PASSES_ON in modules[:-1]:
        modules.remove(PASSES_ON)
    return not any(module.split(".")[0] in OURS for module in modules)


def _line(error: Exception) -> str:
    """Return where in the user's code an error was raised."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)][1:]
    if not lines:
        return "where it is called: it takes one value, the trial"
    file, line = [place for place in lines if place[0] == lines[0][0]][-1]
    return f"{Path(file).name}, line {line}"
