"""One search on one table, and what came of it."""

import logging
import math
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
from benchmarks.replay.searches import SEARCHES, Ours
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
    return sorted({curve.number for curve in read_curves()[0]})


def half(rest: int) -> Table:
    """Return every other recorded config."""
    return Recorded(tuple(number for number in numbers() if number % 2 == rest))


def few(rest: int, trials: int, seed: int) -> Table:
    """Return some recorded configs of one half, others with each seed."""
    candidates = [number for number in numbers() if number % 2 == rest]
    return Recorded(tuple(int(number) for number in np.random.default_rng(seed).permutation(candidates)[:trials]))


FEW = 12
"""Trials of a short search, where nothing else is asked for."""

TABLES: dict[str, tuple[Callable[[int, int], Table], int]] = {
    "crossing": (lambda seed, trials: toy(True, seed), 900),
    "plain": (lambda seed, trials: toy(False, seed), 300),
    "short": (lambda seed, trials: toy(seed % 2 == 0, seed, epochs=12, trials=trials), 10_000),
    "few": (lambda seed, trials: few(0, trials, seed), 10_000),
    "few-report": (lambda seed, trials: few(1, trials, seed), 10_000),
    "choose": (lambda seed, trials: half(0), 300),
    "report": (lambda seed, trials: half(1), 300),
}
"""By name: the table for a seed, and the epochs that a search may train; `short` and `few` take the trials as well."""


@dataclass(frozen=True)
class Outcome:
    """What came of one search."""

    picked: float  # worth of the trial with the best val_miou
    found: float  # epochs until near the best, or infinite
    seconds: float
    epochs: int  # that it trained
    best: tuple[float, ...]  # val_miou so far after each epoch


@dataclass(frozen=True)
class Task:
    """One search to run."""

    table: str
    search: str
    seed: int
    epochs: int  # that it may train
    workers: int
    trials: int = FEW  # of a short search
    until: float = math.inf  # by when it has to end, in epochs that a worker can do


def search(task: Task) -> Outcome:
    """Run one search."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.disable(logging.WARNING)  # peers tell of every epoch
    warnings.simplefilter("ignore")
    table, began = TABLES[task.table][0](task.seed, task.trials), time.monotonic()
    best: list[float] = []
    picked = 0.0
    with ALL[task.search](table, task.seed) as searching:
        tell_left = searching.tell_left if isinstance(searching, Ours) else lambda seconds_left, workers: None
        for epoch in simulate(searching, task.workers, until=task.until, tell_left=tell_left):
            if not best or epoch.value > best[-1]:
                picked = epoch.worth
            best.append(max(epoch.value, best[-1] if best else -np.inf))
            if len(best) >= task.epochs:
                break
    reached = next((count for count, value in enumerate(best, 1) if value >= table.best - NEAR), np.inf)
    return Outcome(picked, reached, time.monotonic() - began, len(best), tuple(best))
