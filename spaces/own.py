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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

Sample = Callable[[optuna.Trial], dict[str, Any]]

PYTHON = "python"
"""Stands for the file of a function that has none, as in a notebook."""

_known: dict[str, Sample] = {}
"""By name, FILE:FUNCTION."""


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
    """Return the values that a space's function wants tried before anything else."""
    return tuple(getattr(find(name), "first_trials", ()))
