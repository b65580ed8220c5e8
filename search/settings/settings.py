"""What a search is asked for, exactly as given: by the command line (`arguments.py`) or by Python (`search/api.py`)."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from search.settings.plan import Plan
from trainable.dataset.folds import Folds
from trainable.machine.called_as import command_line

Value = TypeVar("Value")

LOCAL = "local"
"""The address of a Ray that a search starts for itself."""

GOES_ON = ("resume", "extend", "confirm")
"""Settings that go on with a run; one at a time."""


@dataclass(frozen=True)
class Promoted:
    """The plan of a run that takes the best configs of an earlier one, which decides on data and folds."""

    plan: Plan
    folds: Folds


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a user can ask of a search. None, and False, is what was not asked for.

    What then holds depends on the device and the data, see `search/settings/resolve.py`, or on the run that goes on.
    The names are those of the options of `search/run.py`, whose help says what each is.
    """

    # search
    space: str | None = None
    base: Path | None = None
    encoders: str | None = None
    trials: int | None = None
    epochs: int | None = None
    stopper: str | None = None
    grace: int | None = None  # epochs
    reduction: int | None = None
    seed: int | None = None
    name: str | None = None
    runs_dir: str | Path = Path("runs")
    resume: str | None = None
    extend: str | None = None
    warm_start: tuple[str, ...] = ()
    promote: str | None = None
    keep_gb: float | None = None
    confirm: str | None = None
    top: int | None = None
    include: tuple[int, ...] = ()
    vary: int | None = None
    seeds: int | None = None
    no_race: bool = False
    to: str | None = None
    pseudo_labels: bool = False
    gpu_hours: float | None = None
    until: str | None = None
    cost: float | None = None
    rate: float | None = None
    smoke: bool = False
    # data
    data: str | Path | None = None
    extra: str | Path | None = None
    skip_bad: bool = False
    folds: int | str | None = None  # a number, or `given`
    classes: str | None = None  # a file, or one that comes with the product
    score_size: str | None = None
    fold: int | None = None
    cache_dir: Path | None = None
    # model
    architecture: str | None = None
    encoder: str | None = None
    encoder_weights: str | None = None
    image_size: int | str | None = None  # pixels of the longer side, or HxW
    tile_size: int | None = None  # pixels per side
    precision: str | None = None
    compile: bool = False
    batch_size: int | None = None
    # machine and logging
    address: str = LOCAL
    submit: str | None = None
    gpus: int | None = None
    concurrent: int | None = None
    gpus_per_trial: float | str | None = None
    wandb: str | None = None
    mlflow: str | None = None
    # no option: filled in where configs are promoted
    promoted: Promoted | None = None

    def given(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return what was asked for, by name; of some names only where they are passed."""
        defaults = {field.name: field.default for field in fields(self) if field.name != "promoted"}
        return {name: value for name in names or defaults if (value := getattr(self, name)) != defaults[name]}

    def without(self, names: Iterable[str]) -> "Settings":
        """Return the same, without having asked for some of it."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self) if field.name in names}
        return replace(self, **defaults)

    def command(self) -> str:
        """Return the command that asks for the same."""
        return command_line("search/run.py", *typed(self.given()))


def given_or(value: Value | None, default: Value) -> Value:
    """Return a value if it was given, else the default."""
    return default if value is None else value


def whole(value: int | str | None) -> int | None:
    """Return a setting that may be said in words too as a number, where it is one."""
    return value if isinstance(value, int) else None


def option(name: str) -> str:
    """Return a setting as it is typed."""
    return f"--{name.replace('_', '-')}"


def typed(given: dict[str, Any]) -> list[str]:
    """Return settings as the words of a command line."""
    words: list[str] = []
    for name, value in given.items():
        if value is True:
            words.append(option(name))
        else:
            words += [option(name), *map(str, value if isinstance(value, tuple) else [value])]
    return words
