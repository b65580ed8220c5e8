"""Compares ways to search by replay: the same budget of epochs, table by table, seed by seed.

    python -m benchmarks.replay [--table crossing plain choose report] [--seeds 100] [--search NAME ...]

Tables: two families of curves that are made up, and the recorded ones, of which `choose` is the half that decisions may
be made by and `report` the other.
"""

import argparse
import multiprocessing

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table as Printed

from benchmarks.replay.comparison import NEAR, TABLES, Outcome, search
from benchmarks.replay.recorded import FILE
from benchmarks.replay.searches import SEARCHES


def printed(title: str, outcomes: dict[str, list[Outcome]]) -> Printed:
    """Return one table's comparison."""
    shown = Printed(title=title, title_justify="left")
    for column in ("search", "worth of its pick", "± s.e.", f"median epochs to best - {NEAR}", "found it", "s"):
        shown.add_column(column, justify="left" if column == "search" else "right")
    for name, found in outcomes.items():
        picked = np.array([each.picked for each in found])
        epochs = np.array([each.found for each in found])
        middle = float(np.median(epochs))
        shown.add_row(name, f"{picked.mean():.3f}", f"{picked.std() / len(picked) ** 0.5:.3f}",
                      f"{middle:.0f}" if np.isfinite(middle) else "never", f"{np.isfinite(epochs).mean():.0%}",
                      f"{np.mean([each.seconds for each in found]):.1f}")  # fmt: skip
    return shown


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser("benchmarks.replay")
    there = [name for name in TABLES if FILE.exists() or name not in ("choose", "report")]
    parser.add_argument("--table", nargs="+", default=there, choices=TABLES)
    parser.add_argument("--search", nargs="+", default=list(SEARCHES), choices=SEARCHES)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--epochs", type=int, help="that a search may train (default: by table)")
    options = parser.parse_args()
    with multiprocessing.get_context("forkserver").Pool() as pool:
        for table in options.table:
            epochs = options.epochs or TABLES[table][1]
            tasks = [(table, name, seed, epochs, options.workers)
                     for name in options.search for seed in range(options.seeds)]  # fmt: skip
            done = track(pool.imap(search, tasks), table, len(tasks), console=Console(stderr=True), transient=True)
            outcomes: dict[str, list[Outcome]] = {name: [] for name in options.search}
            for (_, name, *_), outcome in zip(tasks, done, strict=True):
                outcomes[name].append(outcome)
            title = f"{table}: {epochs} epochs, {options.workers} workers, {options.seeds} seeds"
            Console(width=120).print(printed(title, outcomes))


if __name__ == "__main__":
    main()
