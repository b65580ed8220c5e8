"""How often the race of `search/run.py --confirm` keeps and finds the true best, on made-up trainings of 20 configs.

    python -m benchmarks.racing [--simulations 100] [--top 8] [--configs 20]

A simulation draws configs from the recorded table (`benchmarks/replay/curves.parquet`): their worth, and the shape of
their curve. Their per-photo counts are those of recorded repeats on several folds, moved to the config's worth; every
training is off by noise between seeds. The search on fold 0 is that of `benchmarks/replay`, the race `search/racing.py`
itself.
"""

import argparse
import multiprocessing
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table as Printed

from benchmarks.replay.recorded import Curve, read_curves
from benchmarks.replay.searches import Ours
from benchmarks.replay.simulate import Begun, simulate
from benchmarks.replay.tables import Distributions, Params
from search.racing import Race, rungs_of
from search.thawing import Thawing, ThawingScheduler
from spaces.table import Space
from trainable.artifacts import RunFolder
from trainable.comparing import SEED_SD, Cell, Tallies, shares

FOLDS, PHOTOS, WORKERS = 5, 340, 4
MOST = 0.45
"""Of the epochs that all configs on all folds take."""


@cache
def recorded() -> tuple[list[Curve], list[Tallies]]:
    """Return the curves of all configs on fold 0, and per-photo tallies of those recorded on three folds."""
    curves, _, facts = read_curves()
    first = [each for each in curves if each.seed == each.fold == 0 and len(each.classes) == facts["epochs"]]
    by_config: dict[int, list[NDArray[np.int32]]] = {}
    for each in curves:
        if each.seed == 0 and each.photos is not None:
            by_config.setdefault(each.number, []).append(each.photos[-1])
    repeated = [np.concatenate(parts) for parts in by_config.values() if len(parts) >= 3]
    hits_and_unions = [np.concatenate([p[..., 0], p[..., 1] + p[..., 2] - p[..., 0]], 1).astype(float) for p in repeated]
    return first, hits_and_unions


@dataclass
class Made:
    """Configs whose trainings are made up; a table to search, see `benchmarks/replay/tables.py`."""

    seed: int
    configs: int
    noise: float  # standard deviation between seeds
    begun: int = 0
    trained: dict[tuple[int, Cell], Tallies] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        first, repeated = recorded()
        chosen = [first[index] for index in rng.choice(len(first), self.configs, replace=False)]
        self.curves = [each.rows["val_miou"] for each in chosen]
        self.worths = np.array([curve.max() for curve in self.curves])
        levels = np.array([shares(each)[0] for each in repeated])
        near = [np.argsort(abs(levels - worth))[:4] for worth in self.worths]
        self.alike = [int(rng.choice(each)) for each in near]
        self.photos = np.array_split(rng.integers(0, len(repeated[0]), PHOTOS), FOLDS)
        self.epochs, self.trials = len(self.curves[0]), self.configs
        self.space = Space(lambda trial: {"seed": int(trial.suggest_float("any", 0, 1))}, ())
        self.best = float(self.worths.max())

    def train(self, config: int, cell: Cell) -> Tallies:
        """Return what a training comes to on its fold, (N, 2C)."""
        if (config, cell) not in self.trained:
            found = recorded()[1][self.alike[config]]
            off = np.random.default_rng([self.seed, config, *cell]).normal(0, self.noise)
            self.trained[config, cell] = moved(found, self.worths[config] + off)[self.photos[cell[0]]]
        return self.trained[config, cell]

    def begin(self, params: Params, distributions: Distributions) -> Begun:
        """Return the next config's curve on fold 0."""
        config, self.begun = self.begun, self.begun + 1
        curve, end = self.curves[config], shares(self.train(config, (0, 0)))[0]
        return Begun(curve * end / curve.max(), float(self.worths[config]))


def moved(found: Tallies, miou: float) -> Tallies:
    """Return tallies whose mIoU is another: of each photo some errors become hits, or some hits errors."""
    now, classes = shares(found)[0], found.shape[1] // 2
    hits, unions = found[:, :classes], found[:, classes:]
    gain = (miou - now) / (1 - now) if miou > now else (now - max(miou, 0.01)) / now
    return np.concatenate([hits + gain * (unions - hits) if miou > now else hits * (1 - gain), unions], 1)


@dataclass(frozen=True)
class Outcome:
    """What came of one simulation."""

    share: float  # of all epochs
    kept: bool  # the true best, to the end
    entered: bool
    alone: bool  # one is called the best
    right: bool  # the leader is the true best
    argmax: bool  # the best mean of as many epochs spread over all configs is
    loss: float
    argmax_loss: float
    left: int


def run(task: tuple[int, int, int, int, float, float]) -> Outcome:
    """Search on fold 0, then race: by seed, configs, finalists, seeds, share of the epochs and noise."""
    seed, configs, top, seeds, most, noise = task
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = Made(seed, configs, noise)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    thawing = Thawing(RunFolder(folder), made.epochs, configs)
    try:
        used = sum(1 for _ in simulate(Ours(RunFolder(folder), made, seed, lambda *_: ThawingScheduler(thawing)), WORKERS))
    finally:
        shutil.rmtree(folder)
    ends = thawing.ends()
    finalists = sorted(ends, key=lambda number: -ends[number])[:top]
    whole = configs * FOLDS * made.epochs
    race = Race(finalists, rungs_of(range(FOLDS), 0, seeds))
    for number in finalists:
        if thawing.epochs[thawing.rows[number]] >= made.epochs:
            race.see(number, (0, 0), made.train(number, (0, 0)))
    race.fits = lambda tasks: used + made.epochs * len(tasks) <= most * whole
    while task_next := race.next():
        race.see(*task_next, made.train(*task_next))
        used += made.epochs
    standing = race.standings[-1] if race.standings else None
    best = int(made.worths.argmax())
    alike = standing.alike if standing else finalists
    picked = standing.leader if standing else finalists[0]
    plain = argmax(made, used // made.epochs)
    return Outcome(used / whole, best in alike, best in finalists, len(alike) == 1, picked == best, plain == best,
                   made.best - made.worths[picked], made.best - made.worths[plain], len(alike))


def argmax(made: Made, trainings: int) -> int:
    """Return the config of the best mean where trainings are spread over all, fold after fold."""
    means = []
    for config in range(made.configs):
        count = trainings // made.configs + (config < trainings % made.configs)
        means.append(np.mean([shares(made.train(config, (index % FOLDS, index // FOLDS)))[0] for index in range(count)]))
    return int(np.argmax(means))
