"""Compares ways to search by replay: the same budget of epochs, table by table, seed by seed.

    python -m benchmarks.replay [--table crossing plain choose report] [--seeds 100] [--plot FILE] [--search NAME ...]

Tables: two families of curves that are made up (`short`: both, for searches of few trials), and the recorded ones, of
which `choose` is the half that decisions may be made by and `report` the other (`few` and `few-report`: few of either).
"""

import argparse
import math
import multiprocessing
from pathlib import Path

import numpy as np
from matplotlib import colormaps, pyplot
from rich.console import Console
from rich.progress import track
from rich.table import Table as Printed

from benchmarks.replay.comparison import ALL, FEW, NEAR, TABLES, Outcome, Task, search
from benchmarks.replay.recorded import FILE

COLOURS = colormaps["tab10"].colors  # type: ignore[attr-defined]


def printed(title: str, outcomes: dict[str, list[Outcome]]) -> Printed:
    """Return one table's comparison."""
    table = Printed(title=title, title_justify="left")
    columns = ("search", "worth of its pick", "± s.e.", f"median epochs to best - {NEAR}", "found it", "epochs", "s")
    for column in columns:
        table.add_column(column, justify="left" if column == "search" else "right")
    for name, results in outcomes.items():
        picked = np.array([outcome.picked for outcome in results])
        epochs = np.array([outcome.found for outcome in results])
        middle = float(np.median(epochs))
        table.add_row(
            name,
            f"{picked.mean():.3f}",
            f"{picked.std() / len(picked) ** 0.5:.3f}",
            f"{middle:.0f}" if np.isfinite(middle) else "never",
            f"{np.isfinite(epochs).mean():.0%}",
            f"{np.mean([outcome.epochs for outcome in results]):.0f}",
            f"{np.mean([outcome.seconds for outcome in results]):.1f}",
        )
    return table


def plot(tables: dict[str, dict[str, list[Outcome]]], path: Path) -> None:
    """Draw the mean of the best val_miou so far, and its 95% interval over seeds, one panel for each table."""
    size = (6.5 * len(tables), 4.5)
    figure, axes = pyplot.subplots(1, len(tables), figsize=size, squeeze=False, layout="constrained")
    for axis, (title, outcomes) in zip(axes[0], tables.items(), strict=True):
        for index, (name, results) in enumerate(outcomes.items()):
            length = max(len(outcome.best) for outcome in results)
            best = np.array([outcome.best + (outcome.best[-1],) * (length - len(outcome.best)) for outcome in results])
            mean, error = best.mean(0), 1.96 * best.std(0) / len(best) ** 0.5
            ours = name == "Trashsweep"
            line = axis.plot(
                np.arange(1, length + 1),
                mean,
                label=name,
                color="black" if ours else COLOURS[index % 10],
                lw=2.5 if ours else 1.2,
                zorder=3 if ours else 2,
            )[0]
            axis.fill_between(
                np.arange(1, length + 1), mean - error, mean + error, color=line.get_color(), alpha=0.12, lw=0
            )
        axis.set(title=title, xlabel="epochs trained", ylabel="best val_miou so far")
        low = np.median([outcome.best[len(outcome.best) // 10] for results in outcomes.values() for outcome in results])
        axis.set_ylim(bottom=float(low) * 0.9)
        axis.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser("benchmarks.replay")
    available = [name for name in TABLES if FILE.exists() or name in ("crossing", "plain", "short")]
    parser.add_argument("--table", nargs="+", default=available, choices=TABLES)
    parser.add_argument("--search", nargs="+", default=list(ALL), choices=ALL)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=FEW, help="of `short` and `few` (default: %(default)s)")
    parser.add_argument("--until", type=float, default=math.inf, help="when it ends, in epochs that a worker can do")
    parser.add_argument("--epochs", type=int, help="that a search may train (default: by table)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the best so far over epochs")
    options = parser.parse_args()
    drawn: dict[str, dict[str, list[Outcome]]] = {}
    with multiprocessing.get_context("forkserver").Pool() as pool:
        for table in options.table:
            epochs = options.epochs or TABLES[table][1]
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            tasks = [
                Task(table, name, seed, epochs, options.workers, options.trials, options.until)
                for name in options.search
                for seed in seeds
            ]
            done = track(pool.imap(search, tasks), table, len(tasks), console=Console(stderr=True), transient=True)
            outcomes: dict[str, list[Outcome]] = {name: [] for name in options.search}
            for task, outcome in zip(tasks, done, strict=True):
                outcomes[task.search].append(outcome)
            size = f"{options.trials} trials" if table.startswith(("short", "few")) else f"{epochs} epochs"
            size += f" until {options.until:g}" if math.isfinite(options.until) else ""
            title = f"{table}: {size}, {options.workers} workers, {options.seeds} seeds"
            Console(width=120).print(printed(title, outcomes))
            drawn[title] = outcomes
    if options.plot:
        plot(drawn, options.plot)


if __name__ == "__main__":
    main()
