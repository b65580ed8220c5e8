"""Compares ways to search by replay: the same budget of epochs, table by table, seed by seed.

    python -m benchmarks.replay [--table crossing plain choose report] [--seeds 20] [--search NAME ...]

Tables: two families of curves that are made up, and the recorded ones, of which `choose` is the half that decisions may
be made by and `report` the other.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table as Printed

from benchmarks.replay.recorded import FILE, Recorded, read_curves
from benchmarks.replay.searches import SEARCHES
from benchmarks.replay.simulate import simulate
from benchmarks.replay.tables import Table, Toy

NEAR = 0.01
"""Within so much of the table's best val_miou a search has found it."""

TRIALS = 1000
"""More than any budget lets a search begin."""


@cache
def half(rest: int) -> Table:
    """Return every other recorded config."""
    numbers = sorted({each.number for each in read_curves()[0]})
    return Recorded(tuple(number for number in numbers if number % 2 == rest))


TABLES: dict[str, tuple[Callable[[int], Table], int]] = {
    "crossing": (lambda seed: Toy(True, seed), 900),
    "plain": (lambda seed: Toy(False, seed), 300),
    "choose": (lambda seed: half(0), 300),
    "report": (lambda seed: half(1), 300),
}
"""By name: the table for a seed, and the epochs that a search may train."""


@dataclass
class Outcome:
    """What came of one way to search on one table, by seed."""

    picked: list[float] = field(default_factory=list)  # worth of the trial with the best val_miou
    found: list[float] = field(default_factory=list)  # epochs until near the best, or infinite
    seconds: float = 0.0


def compare(name: str, table_of: Callable[[int], Table], epochs: int, seeds: int, workers: int) -> Outcome:
    """Run one way to search on a table with each seed."""
    outcome, began = Outcome(), time.monotonic()
    for seed in track(range(seeds), name, console=Console(stderr=True), transient=True):
        table = table_of(seed)
        best, picked, found = -np.inf, 0.0, np.inf
        with SEARCHES[name](table, seed, TRIALS) as search:
            for count, each in enumerate(simulate(search, workers, TRIALS), 1):
                if each.value > best:
                    best, picked = each.value, each.worth
                if best >= table.best - NEAR:
                    found = min(found, count)
                if count >= epochs:
                    break
        outcome.picked.append(picked)
        outcome.found.append(found)
    outcome.seconds = time.monotonic() - began
    return outcome


def printed(title: str, outcomes: dict[str, Outcome]) -> Printed:
    """Return one table's comparison."""
    shown = Printed(title=title)
    for column in ("search", "worth of its pick", "± s.e.", f"median epochs to best - {NEAR}", "found it", "s"):
        shown.add_column(column, justify="left" if column == "search" else "right")
    for name, each in outcomes.items():
        error = np.std(each.picked) / len(each.picked) ** 0.5
        epochs, found = float(np.median(each.found)), np.isfinite(each.found).mean()
        shown.add_row(name, f"{np.mean(each.picked):.3f}", f"{error:.3f}",
                      f"{epochs:.0f}" if np.isfinite(epochs) else "never", f"{found:.0%}",
                      f"{each.seconds:.0f}")  # fmt: skip
    return shown


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser("benchmarks.replay")
    there = [name for name in TABLES if FILE.exists() or name not in ("choose", "report")]
    parser.add_argument("--table", nargs="+", default=there, choices=TABLES)
    parser.add_argument("--search", nargs="+", default=list(SEARCHES), choices=SEARCHES)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--epochs", type=int, help="that a search may train (default: by table)")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    for name in options.table:
        table_of, epochs = TABLES[name]
        epochs = options.epochs or epochs
        outcomes = {each: compare(each, table_of, epochs, options.seeds, options.workers) for each in options.search}
        title = f"{name}: {epochs} epochs, {options.workers} workers, {options.seeds} seeds"
        Console(width=120).print(printed(title, outcomes))


if __name__ == "__main__":
    main()
