"""Compares searches by replay.

python -m benchmarks.replay --table crossing --seeds 20
"""

import argparse
import time
import warnings

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.replay.searches import SEARCHES
from benchmarks.replay.simulate import simulate
from benchmarks.replay.tables import Toy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", default="crossing")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=900)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    printed = Printed(title=f"{options.table}")
    for c in ("search", "final", "se", "median epochs to best - 0.05", "s"):
        printed.add_column(c)
    for name in options.only or SEARCHES:
        finals, reached, began = [], [], time.monotonic()
        for seed in range(options.seeds):
            table = Toy(options.table == "crossing", seed)
            with SEARCHES[name](table, seed, 500) as search:
                best, pick, first = -1.0, 0.0, np.inf
                for count, epoch in enumerate(simulate(search, options.workers, 500), 1):
                    if epoch.value > best:
                        best, pick = epoch.value, epoch.worth
                    if epoch.value >= table.best - 0.05 and first == np.inf:
                        first = count
                    if count >= options.epochs:
                        break
                finals.append(pick)
                reached.append(first)
        error = np.std(finals) / len(finals) ** 0.5
        seconds = time.monotonic() - began
        printed.add_row(name, f"{np.mean(finals):.3f}", f"{error:.3f}", f"{np.median(reached)}", f"{seconds:.0f}")
    Console(width=120).print(printed)


if __name__ == "__main__":
    main()
