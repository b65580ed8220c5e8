"""Runs a search on virtual time: the searcher and scheduler that Tune would run, called in Tune's order."""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from trainable.classes import METRIC


@dataclass(frozen=True)
class Begun:
    """A trial that begins, or goes on."""

    curve: NDArray[np.float64]
    worth: float  # at the end of its budget
    done: int = 0  # epochs


class Search(Protocol):
    """A way to search, between the names that Tune gives trials and curves."""

    def ask(self, name: str) -> Begun | None:
        """Begin a trial, or go on with one; None: there is none, but there may be when another ends."""

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Tell the value of an epoch; returns whether the trial goes on."""


@dataclass
class StandIn:
    """What schedulers look at of Tune's trial."""

    trial_id: str
    config: dict[str, Any]


class TuneSearch:
    """A Tune searcher and scheduler on a table."""

    def __init__(self, searcher: Any, scheduler: Any, look_up: Callable[[str, dict[str, Any]], Begun], epochs: int):
        self.searcher, self.scheduler, self.look_up, self.epochs = searcher, scheduler, look_up, epochs
        self.trials: dict[str, StandIn] = {}

    def ask(self, name: str) -> Begun | None:
        """Ask the searcher."""
        config = self.searcher.suggest(name)
        if config is None or config == Searcher.FINISHED:
            return None
        self.trials[name] = StandIn(name, config)
        self.scheduler.on_trial_add(None, self.trials[name])
        return self.look_up(name, config)

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

    turn: int
    """Number of what the search was asked for: a trial, or a further part of one."""
    epoch: int
    value: float
    worth: float
    """Of its trial."""


def simulate(
    search: Search,
    workers: int,
    seconds: Callable[[int], float] = lambda turn: 1.0,
    until: float = math.inf,
    tell_left: Callable[[float, int], None] = lambda seconds_left, workers: None,
) -> Iterator[Epoch]:
    """Yield the epochs of a search in the order in which they end.

    Args:
        search: asked as soon as a worker is free.
        workers: trials that run at a time.
        seconds: that an epoch takes, by the number of what the search was asked for.
        until: the time at which the search ends, in seconds; epochs that are not through by then are lost.
        tell_left: is told before each question and report how many seconds are left, and to how many workers.
    """
    queue: list[tuple[float, int, int]] = []  # when an epoch ends, turn, epoch
    live: dict[int, Begun] = {}
    begun, now = 0, 0.0
    while True:
        tell_left(until - now, workers)
        while len(live) < workers and (trial := search.ask(f"t{begun:05d}")) is not None:
            live[begun] = trial
            heapq.heappush(queue, (now + seconds(begun), begun, trial.done + 1))
            begun += 1
        if not queue:
            return
        now, turn, epoch = heapq.heappop(queue)
        if now > until:
            return
        tell_left(until - now, workers)
        value = float(live[turn].curve[epoch - 1])
        yield Epoch(turn, epoch, value, live[turn].worth)
        if search.report(f"t{turn:05d}", epoch, value):
            heapq.heappush(queue, (now + seconds(turn), turn, epoch + 1))
        else:
            del live[turn]
