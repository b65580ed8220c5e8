"""Forecasts what a search will take: before its start from trying some epochs, and again when trials have told more."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.tune.experiment import Trial
from rich.console import Console

from search.callbacks.usage import Hours
from search.preparation.space_samples import sample_configs
from search.run_state.console import tell
from search.run_state.run_status import show_span
from search.settings.allocation import Resources
from search.settings.budget import Budget, Clock, expected_epochs, size, unit
from search.settings.plan import NO_STOPPING, Plan
from search.settings.settings import option
from search.worker.messages import Epoch, Report
from search.worker.trial_callback import TrialCallback, assigned
from search.worker.trial_runner import TrialSetting
from trainable.config import TrialConfig
from trainable.counts import counted
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import ENDED

TRIED = 3
"""Configs that are tried before the start, the base's own not counted."""

STEPS = 4
"""Batches of each that are timed."""

SEEN = 8
"""Trials that have ended an epoch when the forecast is made again."""


def tried_epoch(plan: Plan, setting: TrialSetting, share: Resources) -> float:
    """Return the mean seconds that an epoch takes, by timing some batches of the first configs in a worker."""
    configs = [plan.config] if plan.space == "none" else sample_configs(plan, TRIED)
    task = ray.remote(num_cpus=share.cpus_per_trial, num_gpus=share.gpus_per_trial, max_retries=0)(time_epochs)
    seconds: list[float] = ray.get(task.remote([config.to_dict() for config in configs], setting))
    return sum(seconds) / len(seconds)


def time_epochs(contents: list[dict[str, Any]], setting: TrialSetting) -> list[float]:
    """Return the seconds that an epoch of each config takes, from a part of the photos."""
    from search.worker.trial_runner import fold_data
    from trainable.engine.fold_training import FoldTraining

    seconds = []
    for content in contents:
        config = TrialConfig.from_dict(content)
        data = fold_data(config, setting)
        batches = replace(data, train=data.train[: STEPS * config.batch_size], val=data.val[: 2 * config.batch_size])
        training = FoldTraining(config, batches)
        training.epoch(1, [])  # warms up
        began = time.perf_counter()
        row, _ = training.epoch(2, [0.0])
        train, val = row["train_s"], row["val_s"]
        rest = time.perf_counter() - began - train - val
        seconds.append(train * len(data.train) / len(batches.train) + val * len(data.val) / len(batches.val) + rest)
    return seconds


def loosely(plan: Plan) -> str:
    """Return what to say of how far a forecast of epochs can be off."""
    return "" if plan.stopper == NO_STOPPING else " (give or take a third)"


def describe(budget: Budget, share: Resources, epochs: float, seconds: float, loose: str = "") -> str:
    """Return what so many epochs of so many seconds come to."""
    hours = epochs * seconds * (share.gpus_per_trial or 1) / 3600
    wall = epochs * seconds / share.concurrent
    forecast = f"about {counted(round(epochs), 'epoch')}{loose} of {seconds:.1f} s: {hours:.2f} {unit(share)}"
    forecast += f", {hours * budget.rate:.2f} at {budget.rate:g} an hour" if budget.rate else ""
    forecast += f", {show_span(wall)}"
    return (
        f"{forecast}; {budget.text} ends it after {budget.seconds / wall:.0%} of that"
        if wall > budget.seconds
        else forecast
    )


def recorded_epoch(run: RunFolder) -> float | None:
    """Return the mean seconds of the epochs that a run has trained, None where there are none."""
    rows = [row for folder in run.trials() for row in folder.curve()]
    return sum(row.get("train_s", 0.0) + row.get("val_s", 0.0) for row in rows) / len(rows) or None if rows else None


def epochs_left(clock: Clock, hours: Hours, expected: float | None) -> Callable[[], float]:
    """Return what tells how many epochs a worker can still do before it is asked to save.

    Args:
        clock: of the budget.
        hours: that say what an epoch has taken in this session.
        expected: seconds of an epoch until they do; without, there is no telling.
    """

    def left() -> float:
        seconds = hours.per_epoch() or expected
        return max(clock.left() - clock.budget.margin(), 0.0) / seconds if seconds else math.inf

    return left


def nearest_end(run: RunFolder, epochs: int) -> int:
    """Return how many epochs the trial lacks that is nearest to its end; of a run that begins, what a trial has."""
    begun = [len(folder.curve()) for folder in run.trials() if folder.status().state not in ENDED]
    return min((epochs - trained for trained in begun), default=epochs)


def too_small(budget: Budget, share: Resources, plan: Plan, needed: int, seconds: float) -> str | None:
    """Return what to say where a budget pays no trial to its end, and what would help; None where it pays one.

    Args:
        budget: what there is.
        share: of the machine.
        plan: of the search.
        needed: epochs to the end of the trial that is nearest to it, see `nearest_end`.
        seconds: that an epoch takes.
    """
    wall = needed * seconds + budget.margin()
    if wall <= budget.seconds:
        return None
    pays = max(budget.seconds - budget.margin(), 0.0) / seconds
    name, value = budget.text.split()
    if name == option("until"):
        enough = f"{math.ceil(wall / 60)}m"
    else:
        lacking = (wall - budget.seconds) * size(share) / 3600 * (budget.rate or 0.0 if name == option("cost") else 1.0)
        enough = f"{math.ceil((float(value) + lacking) * 100) / 100:g}"
    ways = [f"{name} {enough}"]
    fewer = int(budget.seconds * share.concurrent / wall)
    if name != option("until") and 1 <= fewer < share.concurrent:
        ways.append(f"--concurrent {fewer}, as trials at a time share the hours")
    elif 0 < share.gpus_per_trial < 1:
        ways.append("fewer trials at a time on a GPU (--gpus-per-trial 1)")
    if needed == plan.config.epochs and pays >= 1:
        ways.append(f"a new run with shorter trials (--epochs {int(pays)})")
    lacks = "a trial has" if needed == plan.config.epochs else "the trial nearest to its end lacks"
    return (
        f"{budget.text} brings no trial to its end: it pays about {pays:.1f} epochs of {seconds:.1f} s to each that "
        f"runs, {lacks} {needed}. What helps: {'; or '.join(ways)}. As it is, trials are left where they are when it "
        f"is spent, and go on with --resume"
    )


class Outlook(TrialCallback):
    """Forecasts again when some trials have ended an epoch."""

    def __init__(self, run: RunFolder, plan: Plan, share: Resources, clock: Clock, hours: Hours, console: Console):
        self.run, self.plan, self.share, self.clock, self.hours, self.console = run, plan, share, clock, hours, console
        self.seen: set[int] = set()
        self.told = False

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """A trial ended an epoch."""
        if isinstance(report, Epoch):
            self.seen.add(assigned(trial).number)
        seconds = self.hours.per_epoch()
        if self.told or len(self.seen) < min(SEEN, self.plan.trials) or seconds is None:
            return
        self.told = True
        total = expected_epochs(self.plan)
        to_come = max(total - self.hours.epochs, 0) * seconds / self.share.concurrent
        hours = self.hours.spent() + to_come / 3600 * size(self.share)
        limit = self.hours.spent() + max(self.clock.left(), 0.0) / 3600 * size(self.share)
        ends = f"; {self.clock.budget.text} ends it at {limit:.2f}" if hours > limit else ""
        forecast = f"forecast: {hours:.2f} {unit(self.share)} in all{loosely(self.plan)}"
        tell(self.console, f"{forecast}, an epoch takes {seconds:.1f} s{ends}", "")
