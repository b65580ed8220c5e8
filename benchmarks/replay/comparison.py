"""One search on one table, and what came of it."""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import optuna

from benchmarks.replay.peers import PEERS
from benchmarks.replay.recorded import Recorded, read_curves
from benchmarks.replay.searches import SEARCHES
from benchmarks.replay.simulate import simulate
from benchmarks.replay.tables import Table, Toy

ALL: dict[str, Any] = {**SEARCHES, **PEERS}
"""All ways to search, by name."""

NEAR = 0.01
"""Within so much of the table's best val_miou a search has found it."""

toy = cache(Toy)  # what is best among its configs is worked out once


@cache
def numbers() -> list[int]:
    """Return the recorded configs."""
    return sorted({each.number for each in read_curves()[0]})


def half(rest: int) -> Table:
    """Return every other recorded config."""
    return Recorded(tuple(number for number in numbers() if number % 2 == rest))


TABLES: dict[str, tuple[Callable[[int], Table], int]] = {
    "crossing": (lambda seed: toy(True, seed), 900),
    "plain": (lambda seed: toy(False, seed), 300),
    "short": (lambda seed: toy(seed % 2 == 0, seed, epochs=12, trials=12), 144),
    "choose": (lambda seed: half(0), 300),
    "report": (lambda seed: half(1), 300),
}
"""By name: the table for a seed, and the epochs that a search may train."""


@dataclass(frozen=True)
class Outcome:
    """What came of one search."""

    picked: float  # worth of the trial with the best val_miou
    found: float  # epochs until near the best, or infinite
    seconds: float
    best: tuple[float, ...]  # val_miou so far after each epoch


def search(task: tuple[str, str, int, int, int]) -> Outcome:
    """Run one search: name of the table, of the way to search, seed, epochs and workers."""
    table_name, name, seed, epochs, workers = task
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.disable(logging.WARNING)  # peers tell of every epoch
    warnings.simplefilter("ignore")
    table, began = TABLES[table_name][0](seed), time.monotonic()
    best: list[float] = []
    picked = 0.0
    with ALL[name](table, seed) as searching:
        for each in simulate(searching, workers):
            if not best or each.value > best[-1]:
                picked = each.worth
            best.append(max(each.value, best[-1] if best else -np.inf))
            if len(best) >= epochs:
                break
    found = next((count for count, value in enumerate(best, 1) if value >= table.best - NEAR), np.inf)
    return Outcome(picked, found, time.monotonic() - began, tuple(best))
