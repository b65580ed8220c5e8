"""How many epochs a search to its end takes, and how often `search/settings/budget.py` is right about it.

python -m benchmarks.replay.epochs --seeds 16
"""

import argparse
import logging
import multiprocessing
import warnings
from dataclasses import replace

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.replay.comparison import numbers
from benchmarks.replay.recorded import Recorded
from benchmarks.replay.searches import SEARCHES
from benchmarks.replay.simulate import simulate
from benchmarks.replay.tables import Table, Toy
from search.settings.budget import share_of_epochs

TRIALS, WORKERS = (12, 20, 36, 70), 2
NEAR = 0.2
"""A forecast that is off by so much at most counts as right."""


def table_of(name: str, trials: int, seed: int) -> Table:
    """Return a table of so many configs: recorded ones of the half `choose`, or made-up ones."""
    if name == "choose":
        half = [number for number in numbers() if number % 2 == 0]
        return Recorded(tuple(int(number) for number in np.random.default_rng(seed).permutation(half)[:trials]))
    return replace(Toy(name == "crossing", seed), trials=trials)


def share(task: tuple[str, int, int]) -> float:
    """Return the share of all epochs that a search takes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    table = table_of(*task)
    with SEARCHES["Trashsweep"](table, task[2]) as searching:
        return sum(1 for _ in simulate(searching, WORKERS)) / (table.trials * table.epochs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("benchmarks.replay.epochs")
    parser.add_argument("--seeds", type=int, default=16)
    options = parser.parse_args()
    title = f"Share of all epochs that a search to its end takes, {options.seeds} seeds"
    table = Printed(title=title, title_justify="left")
    for column in ("table", "trials", "share", "sd", "forecast", f"within {NEAR:.0%}"):
        table.add_column(column, justify="left" if column == "table" else "right")
    with multiprocessing.get_context("forkserver").Pool() as pool:
        for name in ("choose", "plain", "crossing"):
            for trials in TRIALS:
                shares = np.array(pool.map(share, [(name, trials, seed) for seed in range(options.seeds)], 1))
                forecast = share_of_epochs(trials)
                right = np.mean(np.abs(shares / forecast - 1) < NEAR)
                figures = (f"{figure:.2f}" for figure in (shares.mean(), shares.std(), forecast))
                table.add_row(name, str(trials), *figures, f"{right:.0%}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
