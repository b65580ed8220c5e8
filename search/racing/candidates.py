"""Which trials are confirmed: those that are to end best, be they finished or stopped early."""

from collections.abc import Sequence

from search.run_state.leaderboard import standings
from search.settings.plan import Plan
from search.tuning.freeze_thaw import Thawing
from search.tuning.priors import read_priors
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, FINISHED, RUNNING

TOP = 3
"""Finalists where --top does not say otherwise."""


def find_finalists(run: RunFolder, plan: Plan, top: int | None, folds: int, include: Sequence[int]) -> list[int]:
    """Return the numbers of the best trials of a run, and of others, the most promising first.

    A trial that had its full budget counts by its best epoch, one that was stopped by the end that its curve forecasts;
    of equal configs only the first counts. Without a `top` it is as many as there are, at most `TOP`.

    Raises:
        ValueError: fewer trials than asked for, unknown numbers, or more folds than the run has.
    """
    if not min(2, plan.folds) <= folds <= plan.folds:
        limits = f"2 to {plan.folds}, the folds of run {run.path.name}"
        if plan.folds == 1:
            limits = f"left out: run {run.path.name} validates on the data's own split"
        raise ValueError(f"--folds must be {limits}, found {folds}")
    if top is not None and (top < 0 or not (top or include)):
        raise ValueError(f"--top must be at least 1, found {top}")
    ranked, sound = rank(run, plan)
    if not ranked:
        raise ValueError(
            f"no trial of run {run.path.name} has ended an epoch without failing, so none can be confirmed; go on with "
            f"it by --resume {run.path.name} first"
        )
    if top is None:
        top = min(TOP, len(ranked))
    if top > len(ranked):
        raise ValueError(
            f"--top {top} is more than the {len(ranked)} different trials of run {run.path.name} that can be "
            f"confirmed; use at most {len(ranked)}"
        )
    unknown = set(include) - set(sound)
    if unknown:
        available = ", ".join(map(str, sorted(sound)))
        raise ValueError(f"--include {min(unknown)}: no such trial that ended an epoch; there are {available}")
    return list(dict.fromkeys([*list(ranked)[:top], *include]))


def rank(run: RunFolder, plan: Plan) -> tuple[dict[int, float], list[int]]:
    """Return where the different trials of a run are to end, the best first, and all that ended an epoch.

    Raises:
        ValueError: a trial's records are damaged.
    """
    damaged: list[int] = []
    ranking = standings(run, damaged)
    if damaged:
        raise ValueError(
            f"trial {damaged[0]} of run {run.path.name} is damaged, in trial.json or curve.csv; --resume "
            f"{run.path.name} mends what is cut off, then it can be confirmed"
        )
    sound = [standing for standing in ranking if standing.best and standing.state not in (*BROKEN, RUNNING)]
    thawing = Thawing(run, plan.config.epochs, plan.trials, read_priors(run, plan.config.epochs))
    thawing.load()
    ends = thawing.ends() | {
        standing.number: standing.best["val_miou"] for standing in sound if standing.best and standing.state == FINISHED
    }
    numbers = [standing.number for standing in sound]
    ranked = distinct(run, sorted(numbers, key=lambda number: -ends[number]))
    return {number: float(ends[number]) for number in ranked}, numbers


def distinct(run: RunFolder, ranked: list[int]) -> list[int]:
    """Return the trials without those whose config an earlier one has."""
    first: dict[str, int] = {}
    for number in ranked:
        # Weights may have moved since; what an earlier version did not write had the value of today.
        config = {**TrialConfig().to_dict(), **run.trial(number).config(), "encoder_weights": ""}
        first.setdefault(str(sorted(config.items())), number)
    return list(first.values())
