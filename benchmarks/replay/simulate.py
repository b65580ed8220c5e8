"""Runs a search on virtual time: the searcher and scheduler that Tune would run, called in Tune's order."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.tune.schedulers import TrialScheduler

from search.trial import METRIC


class Search(Protocol):
    """A way to search, between the names that Tune gives trials and curves."""

    def ask(self, name: str) -> tuple[NDArray[np.float64], float] | None:
        """Begin a trial; returns its curve and what it is worth, or None: there is no other."""

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Tell the value of an epoch; returns whether the trial goes on."""


@dataclass
class StandIn:
    """What schedulers look at of Tune's trial."""

    trial_id: str
    config: dict[str, Any]


class TuneSearch:
    """A Tune searcher and scheduler on a table."""

    def __init__(self, searcher: Any, scheduler: Any, look_up: Any, epochs: int):
        self.searcher, self.scheduler, self.look_up, self.epochs = searcher, scheduler, look_up, epochs
        self.trials: dict[str, StandIn] = {}

    def ask(self, name: str) -> tuple[NDArray[np.float64], float] | None:
        """Ask the searcher."""
        config = self.searcher.suggest(name)
        if config is None:
            return None
        self.trials[name] = StandIn(name, config)
        self.scheduler.on_trial_add(None, self.trials[name])
        found: tuple[NDArray[np.float64], float] = self.look_up(name, config)
        return found

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Do as TuneController._process_trial_result: the searcher hears of an epoch only where the trial goes on."""
        trial = self.trials[name]
        result = {"epoch": epoch, METRIC: value, "training_iteration": epoch, "trial_id": name}
        stop = self.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP or epoch >= self.epochs
        if stop:
            self.scheduler.on_trial_complete(None, trial, result)
            self.searcher.on_trial_complete(name, result=result)
        else:
            self.searcher.on_trial_result(name, result)
        return not stop


@dataclass(frozen=True)
class Epoch:
    """One that was trained."""

    trial: int
    epoch: int
    value: float
    worth: float
    """Of its trial."""


def simulate(search: Search, workers: int, trials: int, seconds: Any = lambda trial: 1.0) -> Iterator[Epoch]:
    """Yield the epochs of a search in the order in which they end.

    Args:
        search: asked as soon as a worker is free.
        workers: trials that run at a time.
        trials: in all.
        seconds: that an epoch of a trial takes, by its number.
    """
    queue: list[tuple[float, int, int]] = []  # when an epoch ends, trial, epoch
    curves, begun = {}, 0

    def begin(now: float) -> None:
        nonlocal begun
        if begun < trials and (found := search.ask(f"t{begun:05d}")) is not None:
            curves[begun] = found
            heapq.heappush(queue, (now + seconds(begun), begun, 1))
            begun += 1

    for _ in range(workers):
        begin(0.0)
    while queue:
        now, trial, epoch = heapq.heappop(queue)
        curve, worth = curves[trial]
        value = float(curve[epoch - 1])
        yield Epoch(trial, epoch, value, worth)
        if search.report(f"t{trial:05d}", epoch, value):
            heapq.heappush(queue, (now + seconds(trial), trial, epoch + 1))
        else:
            del curves[trial]
            begin(now)
