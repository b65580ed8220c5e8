"""Gives each epoch to the trial for which it is worth most: paused trials go on when they are the best bet again.

After each of its epochs a trial goes on, or is paused with its state kept, by its chance to end in front for each epoch
that this takes (`search/tuning/curve_extrapolation.py`). The same measure decides whether a free worker goes on with a
paused trial or begins a new one: of n + 1 trials alike, each is the best with a chance of 1 / (n + 1), and to know
takes as many epochs as the others have had so far. Freeze-thaw in the sense of Swersky, Snoek and Adams (2014): nothing
is lost by pausing early, so no grace period and no rungs have to be chosen. All is decided by the curves there are, so
a resumed search decides as one that was never interrupted.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from search.tuning.curve_extrapolation import chances, forecast_ends
from search.tuning.priors import Priors
from trainable.classes import METRIC
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, PAUSED

CHANGE = 1.0
"""What it costs to put another trial in the place of a running one, in epochs."""

WHOLE, ALWAYS_WHOLE = 10, 3
"""Every tenth trial goes to its end whatever is forecast; three of them at least.

Otherwise only trials that lead early would ever be seen whole, and where good configs are slow the forecasts, and the
sampler that goes by them, would not learn it (docs/search-benchmark.md). None of the first nine is among them: the
first epochs of some trials say more, and cost less, than all epochs of one.
"""

WHOLE_SHARE = 0.05
"""What these trials may take together, as a share of the epochs that the trials, or a budget of time, can pay."""

REACH = 0.5
"""Of a budget that pays no whole trial, what goes to the best of the trials that the rest of it has begun."""

AGREES = 0.5
"""Rank correlation of the first epoch with the end, over whole trials, from which no more of them are needed."""

LEAST_CHANCE = 0.05
"""To end in front, below which a trial makes no further epoch when all trials of a search have begun."""


class Thawing:
    """The curves of a run, and which of its trials are paused."""

    def __init__(self, run: RunFolder, epochs: int, trials: int, priors: Priors | None = None):
        self.run, self.budget, self.trials, self.priors = run, epochs, trials, priors
        self.epochs_left: Callable[[], float] = lambda: math.inf
        """How many epochs a worker can still do: what would not come to its end is not begun."""
        self.workers = 1
        """How many do."""
        self.tell: Callable[[str], None] = lambda message: None
        """Where to say that forecasts are found to hold, or not to hold any more."""
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.rows: dict[int, int] = {}  # row of each trial that has begun and is sound, by number
        self.curves, self.epochs = np.empty((0, self.budget)), np.empty(0, np.int64)
        self.paused: set[int] = set()
        self.thawed: set[int] = set()  # that go on, but have not yet said so
        self.before = 0, 0  # trials that had come to their end, and epochs of all, when the session began
        self.agrees = self.agreement() >= AGREES

    def load(self) -> None:
        """Read how a run stands, after what a crash has damaged was mended."""
        self.clear()
        for folder in self.run.trials():
            state = folder.status().state
            self.begin(folder.number)
            for row in folder.curve():
                self.observe(folder.number, int(row["epoch"]), row[METRIC])
            if state in BROKEN:
                self.drop(folder.number)
            elif state == PAUSED:
                self.paused.add(folder.number)
        self.agrees = self.agreement() >= AGREES
        self.before = self.whole(), int(self.epochs.sum())

    def begin(self, number: int) -> None:
        """A trial begins, or goes on."""
        self.paused.discard(number)
        if number not in self.rows:
            self.rows[number] = len(self.rows)
            self.curves = np.vstack([self.curves, np.full((1, self.budget), np.nan)])
            self.epochs = np.append(self.epochs, 0)

    def observe(self, number: int, epoch: int, value: float) -> None:
        """A trial has ended an epoch."""
        row = self.rows[number]
        self.curves[row, epoch - 1], self.epochs[row] = value, max(self.epochs[row], epoch)

    def drop(self, number: int) -> None:
        """A trial has broken: its curve says nothing."""
        self.thawed.discard(number)
        self.curves[self.rows[number]], self.epochs[self.rows[number]] = np.nan, 0

    def goes_on(self, number: int, epoch: int) -> bool:
        """Decide after an epoch whether a trial goes on; if not it is paused."""
        if number in self.thawed:  # its worker begins with the epoch that is known
            self.thawed.remove(number)
            return True
        if self.must_end(number):
            return True
        chance, needed = self.chances()[self.rows[number]], self.budget - epoch
        _, other = self.best_paused()
        worth = chance / needed if needed <= self.epochs_left() or self.falls_short() else 0.0
        if worth >= max(self._new(), other) and (self.more() or chance >= LEAST_CHANCE):
            return True
        self.paused.add(number)
        return False

    def must_end(self, number: int) -> bool:
        """Tell whether a trial goes to its end whatever is forecast, for the forecasts to learn from."""
        rank = (number + 1) / WHOLE
        if rank % 1 or (self.agrees and rank > ALWAYS_WHOLE - len(self.earlier())):
            return False
        return self.pays_whole(rank)

    def pays_whole(self, trials: float = 1) -> bool:
        """Tell whether so many trials, each trained to its end for the forecasts, are paid for here."""
        return trials * self.budget <= WHOLE_SHARE * self.payable()

    def payable(self) -> float:
        """Return how many epochs there can be in all: those of the trials, or fewer that a budget of time pays."""
        return min(self.trials * self.budget, float(self.epochs.sum()) + self.epochs_left() * self.workers)

    def whole(self) -> int:
        """Return how many trials have come to their end."""
        return int((self.epochs >= self.budget).sum())

    def falls_short(self) -> bool:
        """Tell whether a budget of time has paid no trial to its end, and can pay none with what is left of it."""
        started = [self.budget - self.epochs[row] for row in self.rows.values() if 0 < self.epochs[row] < self.budget]
        return self.whole() == self.before[0] and self.epochs_left() < min([self.budget, *started])

    def reserve(self) -> float:
        """Return how many epochs a worker must have left for another trial to begin: enough for its end.

        Where the budget falls short of that, enough for the best of those that have begun to get on.
        """
        if not self.falls_short():
            return self.budget
        return max(REACH * ((self.epochs.sum() - self.before[1]) / self.workers + self.epochs_left()), 1)

    def next(self) -> int | None:
        """Return the paused trial to go on with, or None for a new one, or an end where there is none."""
        best, worth = self.best_paused()
        if best is None or worth <= self._new():
            return None
        self.thawed.add(best)
        return best

    def chances(self) -> NDArray[np.float64]:
        """Return each trial's chance to end in front, by row."""
        return chances(self.curves, self.epochs, self.earlier())

    def first(self) -> dict[int, list[float]]:
        """Return the curves so far of the trials that have an earlier search's configs, by number."""
        numbers = range(len(self.priors.first) if self.priors else 0)
        rows = {number: self.rows[number] for number in numbers if number in self.rows}
        return {
            number: self.curves[row, : self.epochs[row]].tolist() for number, row in rows.items() if self.epochs[row]
        }

    def earlier(self) -> NDArray[np.float64]:
        """Return the whole curves of earlier searches, (n, E), as far as they are on this one's scale by now."""
        return self.priors.curves(self.first()) if self.priors else np.empty((0, self.budget))

    def finish(self) -> None:
        """A trial has come to its end: see again whether the first epoch ranks trials as the end does."""
        before, agreement = self.agrees, self.agreement()
        self.agrees = agreement >= AGREES
        if self.agrees != before and self.pays_whole():
            whole = self.whole() + len(self.earlier())
            needed = "no longer" if self.agrees else "again"
            correlation = f"rank correlation of epoch 1 with the end {agreement:.2f} over {whole} whole trials"
            self.tell(f"{correlation}: one trial in {WHOLE} is {needed} trained to its end for the forecasts")

    def agreement(self) -> float:
        """Return the rank correlation of the first epoch with the end over the trials that went to it, 0 for a few.

        Those of earlier searches count too.
        """
        whole = np.vstack([self.curves[self.epochs >= self.budget], self.earlier()])
        if len(whole) <= ALWAYS_WHOLE:
            return 0.0
        from scipy.stats import spearmanr  # half a second

        return float(spearmanr(whole[:, 0], whole.max(1))[0])

    def limited(self) -> bool:
        """Tell whether there would be more to do, if there were more epochs left."""
        epochs_left, self.epochs_left = self.epochs_left, lambda: math.inf
        has_more = self.more() or self.best_paused()[0] is not None
        self.epochs_left = epochs_left
        return has_more

    def why(self, number: int) -> str:
        """Return why a trial is paused."""
        row, ends = self.rows[number], forecast_ends(self.curves, self.epochs, self.earlier())
        forecast, chance = f"{ends.best[row]:.3f} ± {ends.deviation[row]:.3f}", self.chances()[row]
        expectation = f"forecast end {forecast}, in front with a chance of {chance:.0%}"
        return f"after epoch {self.epochs[row]} of {self.budget}; {expectation}"

    def ends(self) -> dict[int, float]:
        """Return where each trial that has ended an epoch is forecast to end, by number."""
        best = forecast_ends(self.curves, self.epochs, self.earlier()).best
        return {number: float(best[row]) for number, row in self.rows.items() if self.epochs[row]}

    def more(self) -> bool:
        """Tell whether another trial can begin."""
        return len(self.rows) < self.trials and self.epochs_left() >= self.reserve()

    def best_paused(self) -> tuple[int | None, float]:
        """Return the paused trial whose next epoch is worth most, and how much."""
        least, chances, worths = 0.0 if self.more() else LEAST_CHANCE, self.chances(), {}
        epochs_left = math.inf if self.falls_short() and self.epochs_left() >= 1 else self.epochs_left()
        for number in sorted(self.paused):
            chance, needed = float(chances[self.rows[number]]), self.budget - self.epochs[self.rows[number]]
            if chance >= least and needed <= epochs_left and self._can_go_on(number):
                worths[number] = chance / (needed + CHANGE)
        best = max(worths, key=lambda number: worths[number], default=None)
        return best, worths.get(best, 0.0) if best is not None else 0.0

    def _can_go_on(self, number: int) -> bool:
        """Tell whether a paused trial's state is there: `--keep-gb` may have dropped it, but never at a URI."""
        return self.run.uri is not None or self.run.trial(number).last_state.exists()

    def _new(self) -> float:
        """Return what the first epoch of a new trial is worth, 0 where there can be none."""
        if not self.more():
            return 0.0
        idle = [
            self.epochs[row]
            for number, row in self.rows.items()
            if number in self.paused or self.epochs[row] >= self.budget
        ]
        return 1 / (len(self.rows) + 1) / (max(float(np.mean(idle)) if idle else 1.0, 1.0) + CHANGE)
