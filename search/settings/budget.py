"""What a search may cost, as the time at which it has to end, and what it is forecast to cost."""

import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from search.settings.allocation import Resources
from search.settings.plan import ASHA, FORECAST, Plan
from search.settings.settings import Settings, option

LIMITS = ("gpu_hours", "until", "cost")
"""Options that limit a search; one at a time."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Seconds by what a duration may end with."""


@dataclass(frozen=True)
class Budget:
    """How long a search may go on."""

    text: str  # as the user gave it
    seconds: float  # of wall time, on the share of the machine that the search has; infinite without a limit
    rate: float | None  # of money for a GPU-hour, or a core-hour
    whole: bool = False  # it counts from the start of the command, not from that of the trials

    def margin(self) -> float:
        """Return how many seconds before its end running trials are asked to save their epoch."""
        return min(max(0.01 * self.seconds, 2.0), 20.0)


def check_budget(settings: Settings) -> None:
    """Check the options of a budget as far as they go without a machine.

    Raises:
        ValueError: more than one limit, one that is not above 0, or a cost without a rate.
    """
    given = settings.given((*LIMITS, "rate"))
    limits = [option(name) for name in given if name in LIMITS]
    if len(limits) > 1:
        raise ValueError(f"{limits[0]} and {limits[1]} both limit the search; pass one of them")
    if "cost" in given and "rate" not in given:
        raise ValueError("--cost needs --rate, what an hour of a GPU costs (of a core, where there is no GPU)")
    for name, value in given.items():
        if name == "until":
            duration(value)
        elif not 0 < value < math.inf:
            raise ValueError(f"{option(name)} must be a number above 0, found {value:g}")


def read_budget(settings: Settings, share: Resources, spent: float) -> Budget:
    """Return the budget that the options give.

    Args:
        settings: as given, see `check_budget`.
        share: of the machine.
        spent: GPU-hours, or core-hours, of the run before now, since it was last extended. `--until` does not count it.

    Raises:
        ValueError: the run has spent it already.
    """
    rate = settings.rate
    (name, value), *_ = [*settings.given(LIMITS).items(), ("", None)]
    if value is None:
        return Budget("", math.inf, rate)
    limit = f"{option(name)} {value}"
    if name == "until":
        return Budget(limit, duration(value), rate, whole=True)
    hours = value / (rate if name == "cost" else 1)
    if hours <= spent:
        raise ValueError(f"{limit} is spent: the run has taken {spent:.2f} {unit(share)} so far; allow more")
    return Budget(limit, (hours - spent) * 3600 / size(share), rate)


def duration(text: str) -> float:
    """Return the seconds in 90m, 2h, 1.5d or 1h30m.

    Raises:
        ValueError: it is none.
    """
    parts = re.findall(r"([\d.]+)([smhd])", text)
    try:
        seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    except ValueError:
        seconds = 0.0
    if "".join(map("".join, parts)) != text or not seconds > 0:
        raise ValueError(f"--until takes a duration such as 90m, 2h or 1d12h, found {text!r}")
    return seconds


def size(share: Resources) -> float:
    """Return the GPUs that a search holds, or the cores where it has no GPU."""
    return share.concurrent * (share.gpus_per_trial or 1)


def unit(share: Resources) -> str:
    """Return what its hours are called."""
    return "GPU-hours" if share.gpus_per_trial else "core-hours"


def expected_epochs(plan: Plan) -> float:
    """Return how many epochs a search is expected to train.

    Of ASHA each rung keeps its share of the trials that came to it; by forecasts see `share_of_epochs`.
    """
    epochs = plan.config.epochs
    per_trial = float(epochs)
    if plan.stopper == FORECAST:
        per_trial = epochs * share_of_epochs(plan.trials)
    elif plan.stopper == ASHA:
        per_trial, share, rung = float(plan.grace), 1.0, plan.grace
        while rung < epochs:
            share, following = share / plan.reduction, min(rung * plan.reduction, epochs)
            per_trial, rung = per_trial + share * (following - rung), following
    return plan.trials * per_trial


def share_of_epochs(trials: int) -> float:
    """Return the share of all epochs that a search of so many trials takes where each epoch goes by forecasts.

    Fitted to replayed searches (`python -m benchmarks.replay.epochs`). They differ by 15 to 20% of that where curves
    are as the recorded ones, by 20 to 40% on made-up ones, and the first trials do not tell which way.
    """
    return min(1.0, 1.3 * trials**-0.34)


class Clock:
    """Counts a budget down: from now, when the machine's share is taken, or from the start of the command."""

    def __init__(self, budget: Budget, started: float | None = None):
        """Start to count.

        Args:
            budget: to be kept.
            started: when the command began, as `time.monotonic()` told.
        """
        self.budget = budget
        self.began = started if budget.whole and started is not None else time.monotonic()

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.budget.seconds - (time.monotonic() - self.began)

    def timer(self, on_spent: Callable[[], None]) -> threading.Timer | None:
        """Start what calls a function when it is time to save; None where there is no limit."""
        if math.isinf(self.budget.seconds):
            return None
        wait = min(max(self.left() - self.budget.margin(), 0.0), threading.TIMEOUT_MAX)
        timer = threading.Timer(wait, on_spent)
        timer.daemon = True
        timer.start()
        return timer
