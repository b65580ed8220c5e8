"""How often the race of `search/run.py --confirm` keeps and finds the true best, on made-up trainings of 20 configs.

    python -m benchmarks.racing [--simulations 100] [--configs 20] [--top 8] [--noise 0.015 0.01]

and, in a last row, on the recorded repeats themselves: 12 of the 22 configs recorded on three folds, of which 6 race.

A simulation draws configs from the recorded table (`benchmarks/replay/curves.parquet`): what they are worth, and the
shape of their curve. Their per-photo counts are those of configs recorded on three folds, photos drawn again and dealt
to five, moved so that they come to what the config is worth; every training is off by the noise between seeds. The
search on fold 0 is that of `benchmarks/replay`, then `search/racing/race.py` races the finalists as `--confirm` does.
On the repeats the true best is the one that all their folds together say.
"""

import argparse
import itertools
import multiprocessing
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table as Printed

from benchmarks.replay.recorded import Curve, read_curves
from benchmarks.replay.searches import Ours
from benchmarks.replay.simulate import Begun, simulate
from benchmarks.replay.tables import Distributions, Params
from search.racing.race import Race, rungs_of
from search.session.confirming import SEEDS, SEEDS_OF_BUDGET
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from spaces.table import Space
from trainable.metric.bootstrap import Tallies
from trainable.metric.noise import SEED_SD, Cell
from trainable.metric.paired_comparison import miou as miou_of
from trainable.run_folder.folders import RunFolder

FOLDS, PHOTOS, WORKERS = 5, 340, 4

MOST = 0.45
"""Of the epochs that all configs on all folds take: the budget of search and race together, where there is one."""

NEAREST = 4
"""Configs recorded on several folds, nearest in worth, of which a config has the per-photo counts of one."""

REPEATED = (12, 6)
"""Configs that are drawn from those recorded with three seeds on three folds, and finalists of these."""

REPEATS = 3
"""Folds, and seeds, that these are recorded with."""


@cache
def recorded() -> tuple[list[Curve], dict[int, dict[Cell, Tallies]]]:
    """Return the curves of all configs on fold 0, and by fold and seed the tallies of those that have them all."""
    curves, _, facts = read_curves()
    first = [curve for curve in curves if curve.seed == curve.fold == 0 and len(curve.classes) == facts["epochs"]]
    repeats: dict[int, dict[Cell, Tallies]] = {}
    for curve in curves:
        if curve.photos is not None:
            hits, truth, predicted = np.moveaxis(curve.photos[-1].astype(np.float64), -1, 0)
            tallies = np.concatenate([hits, truth + predicted - hits], axis=1)
            repeats.setdefault(curve.number, {})[curve.fold, curve.seed] = tallies
    return first, {number: parts for number, parts in repeats.items() if len(parts) == REPEATS**2}


def all_folds(parts: dict[Cell, Tallies], seed: int) -> Tallies:
    """Return the tallies of the photos of all recorded folds."""
    return np.concatenate([parts[fold, seed] for fold in range(REPEATS)])


class Made:
    """Configs whose trainings are made up; a table to search, see `benchmarks/replay/tables.py`."""

    folds, seeds = FOLDS, SEEDS_OF_BUDGET

    def __init__(self, seed: int, configs: int, noise: float):
        """Draw some configs; noise is the standard deviation of val_miou between seeds."""
        self.seed, self.noise, self.begun, rng = seed, noise, 0, np.random.default_rng(seed)
        self.trained: dict[tuple[int, Cell], Tallies] = {}
        first, repeats = recorded()
        self.curves = [first[index].rows["val_miou"] for index in rng.choice(len(first), configs, replace=False)]
        self.worths = np.array([curve.max() for curve in self.curves])
        whole = [all_folds(parts, 0) for parts in repeats.values()]
        levels = np.array([miou_of(tallies) for tallies in whole])
        self.alike = [whole[int(rng.choice(np.argsort(abs(levels - worth))[:NEAREST]))] for worth in self.worths]
        self.photos = np.array_split(rng.integers(0, len(whole[0]), PHOTOS), self.folds)
        self.epochs, self.trials = len(self.curves[0]), configs
        self.space = Space(lambda trial: {"seed": trial.suggest_int("any", 0, 999)}, ())  # in any order

    @property
    def best(self) -> float:
        """The highest worth there is."""
        return float(self.worths.max())

    def train(self, config: int, cell: Cell) -> Tallies:
        """Return what a training comes to on the photos of its fold, (N, 2C)."""
        if (config, cell) not in self.trained:
            off = np.random.default_rng([self.seed, config, *cell]).normal(0, self.noise)
            tallies = moved(self.alike[config], self.worths[config] + off)
            self.trained[config, cell] = tallies[self.photos[cell[0]]]
        return self.trained[config, cell]

    def begin(self, params: Params, distributions: Distributions) -> Begun:
        """Return the next config's curve on fold 0."""
        config, self.begun = self.begun, self.begun + 1
        curve = self.curves[config] / self.curves[config].max() * miou_of(self.train(config, (0, 0)))
        return Begun(curve, float(self.worths[config]))


class Repeats(Made):
    """Some of the configs that were recorded with other seeds and on other folds, as they are."""

    folds = seeds = REPEATS

    def __init__(self, seed: int, configs: int):
        super().__init__(seed, configs, noise=0.0)
        first, repeats = recorded()
        self.chosen = np.random.default_rng(seed).choice(sorted(repeats), configs, replace=False)
        curves = {curve.number: curve.rows["val_miou"] for curve in first}
        self.curves = [curves[number] for number in self.chosen]
        self.worths = np.array(
            [
                np.mean([miou_of(all_folds(repeats[number], repeat)) for repeat in range(REPEATS)])
                for number in self.chosen
            ]
        )

    def train(self, config: int, cell: Cell) -> Tallies:
        """Look a training up."""
        return recorded()[1][self.chosen[config]][cell]


def moved(found: Tallies, miou: float) -> Tallies:
    """Return tallies of another mIoU: of every photo's errors, or of its hits, the same part has become the other."""
    now, classes = miou_of(found), found.shape[1] // 2
    hits, unions = found[:, :classes], found[:, classes:]
    hits = hits + (unions - hits) * (miou - now) / (1 - now) if miou > now else hits * max(miou, 0.01) / now
    return np.concatenate([hits, unions], axis=1)


@dataclass(frozen=True)
class Outcome:
    """What came of one simulation."""

    share: float  # of all epochs that was trained
    kept: bool  # the true best is among those that cannot be told apart in the end
    called: bool  # one is said to be the best
    wrong: bool  # and is not
    picked: bool  # the first of the race is the true best
    argmax: bool  # the best mean is, of as many epochs spread evenly over all configs
    no_race: bool  # the best mean is, of the epochs of the race spread evenly over the finalists
    one_fold: bool  # the best of the search on fold 0 is


def run(task: tuple[int, int, int, int, float | None]) -> Outcome:
    """Search on fold 0, then race: by seed, number of configs, of finalists and of seeds, and the noise.

    Without noise it is on the recorded repeats.
    """
    seed, configs, top, seeds, noise = task
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = Repeats(seed, configs) if noise is None else Made(seed, configs, noise)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    thawing = Thawing(RunFolder(folder), table.epochs, configs)
    try:
        searching = Ours(RunFolder(folder), table, seed, lambda *_: ThawingScheduler(thawing))
        used, whole = sum(1 for _ in simulate(searching, WORKERS)), configs * table.folds * table.epochs
    finally:
        shutil.rmtree(folder)
    ends = thawing.ends()
    finalists = sorted(ends, key=lambda number: -ends[number])
    race = Race(finalists[:top], rungs_of(range(table.folds), 0, seeds))
    for number in race.results:
        if thawing.epochs[thawing.rows[number]] == table.epochs:
            race.observe(number, (0, 0), table.train(number, (0, 0)))
    raced = 0
    if seeds > SEEDS and noise is not None:  # a budget
        race.fits = lambda tasks: used + table.epochs * len(tasks) <= MOST * whole
    while following := race.next():
        race.observe(*following, table.train(*following))
        used, raced = used + table.epochs, raced + table.epochs
    best, alike = int(table.worths.argmax()), race.standings[-1].alike
    rungs = rungs_of(range(table.folds), 0, table.seeds)
    return Outcome(
        used / whole,
        best in alike,
        len(alike) == 1,
        len(alike) == 1 and alike[0] != best,
        alike[0] == best,
        argmax(table, range(configs), rungs, used // table.epochs) == best,
        argmax(table, finalists[:top], rungs, raced // table.epochs) == best,
        finalists[0] == best,
    )


def argmax(made: Made, configs: Sequence[int], rungs: Sequence[Cell], trainings: int) -> int:
    """Return the config of the best mean where so many trainings are spread evenly over some, rung after rung."""
    tasks = list(itertools.islice(((config, rung) for rung in rungs for config in configs), trainings))
    values = {config: [miou_of(made.train(*task)) for task in tasks if task[0] == config] for config in configs}
    return max(configs, key=lambda config: np.mean(values[config]) if values[config] else 0.0)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser("benchmarks.racing")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--configs", type=int, default=20)
    parser.add_argument("--top", type=int, nargs="+", default=[8], help="finalists (default 8)")
    parser.add_argument("--noise", type=float, nargs="+", default=[SEED_SD, 0.01], help="between seeds")
    options = parser.parse_args()
    title = (
        f"{options.configs} configs x {FOLDS} folds, {options.simulations} simulations: search on fold 0, then "
        f"--confirm NAME --top K, without a budget and with one of {MOST:.0%} of all epochs"
    )
    table = Printed(title=title, title_justify="left")
    for column in (
        "noise",
        "--top",
        "--seeds",
        "epochs",
        "most",
        "true best kept",
        "called",
        "wrongly",
        "picked",
        "best mean of all",
        "of the finalists",
        "search alone",
    ):
        table.add_column(column, justify="right")
    rows: list[tuple[int, int, int, float | None]] = [
        (options.configs, top, seeds, noise)
        for noise in options.noise
        for top in options.top
        for seeds in (SEEDS, SEEDS_OF_BUDGET)
    ]
    with multiprocessing.get_context("forkserver").Pool() as pool:
        for configs, top, seeds, noise in [*rows, (*REPEATED, SEEDS, None), (*REPEATED, REPEATS, None)]:
            tasks = [(seed, configs, top, seeds, noise) for seed in range(options.simulations)]
            outcomes = list(
                track(pool.imap(run, tasks), f"noise {noise}", len(tasks), console=Console(stderr=True), transient=True)
            )
            spent = [outcome.share for outcome in outcomes]
            rates = [
                np.mean([getattr(outcome, name) for outcome in outcomes])
                for name in ("kept", "called", "wrong", "picked", "argmax", "no_race", "one_fold")
            ]
            table.add_row(
                "repeats" if noise is None else f"{noise:g}",
                str(top),
                str(seeds),
                f"{np.mean(spent):.1%}",
                f"{max(spent):.1%}",
                *(f"{rate:.0%}" for rate in rates),
            )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
