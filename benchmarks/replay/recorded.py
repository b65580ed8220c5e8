"""The recorded learning curves: `curves.parquet` beside this file, see `python -m benchmarks.replay.record_curves`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks.replay.simulate import Begun
from benchmarks.replay.tables import Distributions, Params, priors_of, scaled
from search.tuning.priors import Priors
from spaces.parts import Scope
from spaces.table import JOINT, Space, find_space
from trainable.classes import COMPETITION

FILE = Path(__file__).with_name("curves.parquet")

COLUMNS = ("val_miou", "val_miou_full", "train_loss", "train_s", "val_s", "cpu_s", "peak_memory_mb")
"""What is kept of each epoch's row, where it has it."""

EACH = 3
"""Counts by photo are kept of every third epoch."""


@dataclass(frozen=True)
class Curve:
    """One training."""

    number: int  # of its config
    seed: int
    fold: int
    state: str  # "finished", or what ended it
    rows: dict[str, NDArray[np.float64]]  # by column, (epochs,)
    classes: NDArray[np.int64]  # hits, pixels in truth, pixels in prediction, (epochs, C, 3), over all photos
    photos: NDArray[np.int32] | None  # the same by photo, (epochs // EACH, N, C, 3)

    @property
    def job(self) -> tuple[int, int, int]:
        """What identifies it."""
        return self.number, self.seed, self.fold


def write_curves(curves: Sequence[Curve], configs: Sequence[dict[str, Any]], facts: dict[str, Any], path: Path) -> None:
    """Write the table.

    Args:
        curves: in any order.
        configs: by number: `params`, `distributions` and `config`.
        facts: where they come from.
        path: of the parquet file.
    """
    ordered = sorted(curves, key=lambda curve: curve.job)
    table = pyarrow.table(
        {
            **{name: [getattr(curve, name) for curve in ordered] for name in ("number", "seed", "fold", "state")},
            **{name: [_list(curve.rows.get(name)) for curve in ordered] for name in COLUMNS},
            "classes": [curve.classes.astype(np.int64).tobytes() for curve in ordered],
            "photos": [None if curve.photos is None else curve.photos.astype(np.int32).tobytes() for curve in ordered],
        }
    )
    metadata = {"configs": json.dumps(list(configs)), "facts": json.dumps(facts)}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path, compression="zstd", compression_level=19)


def read_curves(path: Path = FILE) -> tuple[list[Curve], list[dict[str, Any]], dict[str, Any]]:
    """Return curves, configs by number and facts of a table."""
    table = pyarrow.parquet.read_table(path)
    metadata = {
        name.decode(): json.loads(value)
        for name, value in (table.schema.metadata or {}).items()
        if name in (b"configs", b"facts")
    }
    curves = []
    for row in table.to_pylist():
        rows = {name: np.array(row[name]) for name in COLUMNS if row[name]}
        epochs = len(row["val_miou"] or ())
        classes = np.frombuffer(row["classes"], np.int64).reshape(epochs, len(COMPETITION), 3)
        photos = row["photos"]
        if photos is not None:
            photos = np.frombuffer(photos, np.int32).reshape(epochs // EACH, -1, len(COMPETITION), 3)
        curves.append(Curve(row["number"], row["seed"], row["fold"], row["state"], rows, classes, photos))
    return curves, metadata["configs"], metadata["facts"]


def _list(values: NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


_read_once = cache(read_curves)


@dataclass
class Recorded:
    """A table of real curves for one search.

    A config that a search asks for has the curve of the nearest one recorded that it has not had yet: each curve is
    one training, and comes once.
    """

    numbers: tuple[int, ...]
    """Of the configs that are in it: half of all to choose by, the other half to report."""
    path: Path = FILE
    left: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.left = set(self._read[0])

    @property
    def trials(self) -> int:
        """That a search can begin."""
        return len(self._read[0])

    @cached_property
    def _read(self) -> tuple[dict[int, Curve], list[dict[str, Any]], dict[str, Any]]:
        curves, configs, facts = _read_once(self.path)
        first = {
            curve.number: curve for curve in curves if curve.seed == curve.fold == 0 and curve.number in self.numbers
        }
        return first, configs, facts

    @cached_property
    def epochs(self) -> int:
        """Of the budget."""
        return int(self._read[2]["epochs"])

    @cached_property
    def space(self) -> Space:
        """`joint` of the models that were recorded."""
        scope = self._read[2]["scope"]
        models = tuple((architecture, encoder) for architecture, encoder in scope["models"])
        strides = {name: tuple(values) for name, values in scope["strides"].items()}
        joint = find_space(JOINT, Scope(models, strides, tuple(scope["image_sizes"])))
        return Space(joint.sample, ())

    @cached_property
    def best(self) -> float:
        """The highest val_miou that any of its configs reached."""
        return max(float(curve.rows["val_miou"].max()) for curve in self._read[0].values() if len(curve.classes))

    def priors(self) -> Priors:
        """Return what a search knows that starts warm from all the configs that are not in this table."""
        curves, configs, _ = _read_once(self.path)
        others = [
            (configs[curve.number]["params"], curve.rows["val_miou"].tolist())
            for curve in curves
            if curve.seed == curve.fold == 0 and curve.number not in self.numbers and len(curve.classes)
        ]
        return priors_of(others, self.epochs)

    def begin(self, params: Params, distributions: Distributions) -> Begun:
        """Return the nearest config's curve and best value; one that broke goes on with NaN."""
        number = self.nearest(params, distributions)
        self.left.remove(number)
        values = self._read[0][number].rows.get("val_miou", np.empty(0))
        best = float(values.max()) if len(values) else 0.0
        return Begun(np.concatenate([values, np.full(self.epochs - len(values), np.nan)]), best)

    def nearest(self, params: Params, distributions: Distributions) -> int:
        """Return the recorded config with the most equal and the closest parameters."""
        return min(sorted(self.left), key=lambda number: self._distance(number, params, distributions))

    def _distance(self, number: int, params: Params, distributions: Distributions) -> float:
        other = self._params[number]
        return sum(
            1.0 if name not in params or name not in other else _apart(params[name], other[name], distributions[name])
            for name in params.keys() | other.keys()
        )

    @cached_property
    def _params(self) -> dict[int, dict[str, Any]]:
        return {number: self._read[1][number]["params"] for number in self._read[0]}


def _apart(one: Any, other: Any, distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(one != other)
    return abs(scaled(one, distribution) - scaled(other, distribution))
