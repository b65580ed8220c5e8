"""How often what is said of configs is wrong, and how often intervals hold the truth, on made-up photos and trainings.

    python -m benchmarks.error_rates [--simulations 200] [--noise 0.015 0.01] [--draws 500]

Of exactly equal configs a race (`search/racing/race.py`) throws one out or calls one the best now and then: counted
over the whole race, by how many race, on how many folds of 67 photos, with how many seeds. An interval is to hold the
val_miou of the same model, or the difference of two, on very many photos. Photos have rare classes as the competition's
do, see `benchmarks/parts/made_photos.py`. The last line is json: `thrown_out`, `wrongly_best` and `coverage` by case.
"""

import argparse
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.parts.made_photos import COMMON, PRESENT, World
from search.racing.race import Race, rungs_of
from trainable.metric.bootstrap import Interval, Tallies, paired_interval, value_interval
from trainable.metric.noise import SEED_SD, Cell
from trainable.metric.paired_comparison import compare

Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

Trained = tuple[int, Cell, Tallies]
"""A config by its number, what it was trained on, and what it made of the photos."""

CONFIGS, FOLDS, SEEDS, PHOTOS = (2, 8, 20), (3, 5), 5, 67

COUNTS = (67, 339)
"""Photos that coverage is counted on."""

KINDS = (("rare classes", False, 0.0), ("rare classes, weak models", False, -1.5), ("no rare classes", True, 0.0))
"""Photos and models that coverage is counted for."""

GATED = 0.1
"""Share of the photos that a step of post-processing changes."""


@cache
def world(noise: float, common: bool = False, skill: float = 0.0) -> World:
    """Return photos and models; the same for all simulations."""
    return World(COMMON if common else PRESENT, skill, noise=noise)


def trainings(made: World, rng: np.random.Generator, configs: int, folds: int, seeds: int) -> Iterator[Trained]:
    """Train equal configs on the same photos: yields config, fold and seed, and tallies."""
    photos = made.photos(rng, PHOTOS * folds)
    for config in range(configs):
        effects = rng.normal(0, made.apart, photos.area.shape)
        for fold, seed in itertools.product(range(folds), range(seeds)):
            part = slice(fold * PHOTOS, (fold + 1) * PHOTOS)
            yield config, (fold, seed), made.tallies(rng, photos.part(part), made.apart, made.shift(rng), effects[part])


def race(task: tuple[int, float, int, int]) -> tuple[list[bool], list[bool]]:
    """Race equal configs, by seed of the simulation, noise, configs and folds.

    Returns for 1 to `SEEDS` seeds whether any is thrown out, and whether one is called the best, after any rung.
    """
    seed, noise, configs, folds = task
    simulated = world(noise)
    run = Race(range(configs), rungs_of(range(folds), 0, SEEDS))
    for config, cell, tallies in trainings(
        simulated, np.random.default_rng([seed, configs, folds]), configs, folds, SEEDS
    ):
        run.results[config][cell] = tallies
    run.observe(config, cell, tallies)
    remaining = [len(standing.alike) for standing in run.standings]
    depths = [folds * (index + 1) for index in range(SEEDS)]
    return [min(remaining[:depth]) < configs for depth in depths], [min(remaining[:depth]) == 1 for depth in depths]


def intervals(task: tuple[int, float, int]) -> dict[str, float]:
    """Return by case how far the truth is above an interval's low end, as a share of it: inside from 0 to 1."""
    seed, noise, count = task
    positions: dict[str, float] = {}
    for name, common, skill in KINDS:
        simulated, rng = world(noise, common, skill), np.random.default_rng([seed, count])
        photos = simulated.photos(rng, count)
        apart = 2**0.5 * simulated.apart
        one, other = (simulated.tallies(rng, photos, apart) for _ in range(2))
        changed = np.where(rng.random((count, 1)) < GATED, other, one)
        positions[f"value, {name}, {count} photos"] = place(value_interval(one), simulated.truth(one))
        positions[f"difference, {name}, {count} photos"] = place(
            paired_interval(one, other), simulated.truth(one) - simulated.truth(other)
        )
        positions[f"gain of a step, {name}, {count} photos"] = place(
            paired_interval(changed, one), simulated.truth(changed) - simulated.truth(one)
        )
        configs = {number: {(0, 0): simulated.tallies(rng, photos, apart, simulated.shift(rng))} for number in range(2)}
        standing = compare(configs, [(0, 0)])
        positions[f"config's value, {name}, {count} photos"] = place(
            standing.values[0], simulated.truth(configs[0][0, 0])
        )
        less = standing.differences[1 - standing.leader]
        positions[f"configs' difference, {name}, {count} photos"] = place(less, 0.0)
    return positions


def place(interval: Interval, truth: float) -> float:
    """Return where in an interval the truth is, 0 the low end and 1 the high one."""
    return (truth - interval.low) / max(interval.high - interval.low, 1e-12)


def rates(simulations: int, noises: Sequence[float], draws: int, run: Run = map) -> dict[str, dict[str, float]]:
    """Return `thrown_out`, `wrongly_best` and `coverage` by case, the last over so many draws; `run` maps."""
    figures: dict[str, dict[str, float]] = {"thrown_out": {}, "wrongly_best": {}, "coverage": {}}
    for noise, configs, folds in itertools.product(noises, CONFIGS, FOLDS):
        raced = np.array(list(run(race, [(seed, noise, configs, folds) for seed in range(simulations)])))
        for seeds, (out, best) in enumerate(raced.mean(0).T, start=1):
            case = f"{configs} configs, {folds} folds, {seeds} seeds, noise {noise:g}"
            figures["thrown_out"][case], figures["wrongly_best"][case] = float(out), float(best)
    for count in COUNTS:
        placed = list(run(intervals, [(seed, noises[0], count) for seed in range(draws)]))
        for case in placed[0]:
            where = np.array([positions[case] for positions in placed])
            figures["coverage"][case] = float(((where >= 0) & (where <= 1)).mean())
    return figures


def show(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print one table of races and one of intervals."""
    race_table = Table(title="of equal configs, in so many races one is", title_justify="left")
    for column in ("race", "thrown out", "called the best"):
        race_table.add_column(column)
    for case, rate in found["thrown_out"].items():
        race_table.add_row(case, f"{rate:.1%}", f"{found['wrongly_best'][case]:.1%}")
    interval_table = Table(title="95% intervals that hold the truth", title_justify="left")
    for column in ("interval", "hold it"):
        interval_table.add_column(column)
    for case, rate in found["coverage"].items():
        interval_table.add_row(case, f"{rate:.1%}")
    console.print(race_table, interval_table)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser("benchmarks.error_rates")
    parser.add_argument("--simulations", type=int, default=200, help="of each race (default: %(default)s)")
    parser.add_argument("--noise", type=float, nargs="+", default=[SEED_SD, 0.01], help="between seeds")
    parser.add_argument("--draws", type=int, default=500, help="of photos, for intervals (default: %(default)s)")
    options = parser.parse_args()
    with multiprocessing.get_context("forkserver").Pool() as pool:

        def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
            return iter(
                track(
                    pool.imap(function, tasks),
                    str(tasks[0][1:]),
                    len(tasks),
                    console=Console(stderr=True),
                    transient=True,
                )
            )

        figures = rates(options.simulations, options.noise, options.draws, run)
    show(figures, Console(width=100))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
