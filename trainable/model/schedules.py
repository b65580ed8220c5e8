"""Learning-rate schedules over the full budget of epochs.

Every length is a share of the budget, so a schedule stretches to the epochs a trial may have. A trial that ASHA stops
was on the way through the whole schedule, not through a short one of its own: the config trained alone, for the same
number of epochs, takes the same course.
"""

import math
from collections.abc import Callable, Sequence

from trainable.builders import build
from trainable.config import Choice

Schedule = Callable[[float, Sequence[float]], float]
"""Gives the factor on the learning rate from the share of the budget that is spent, 0 to 1, and the val_miou of the
epochs that have ended."""

LOWEST = 0.01
"""The factor at which a warm-up begins: at 0 the first step would do nothing."""


def build_schedule(choice: Choice, epochs: int) -> Schedule:
    """Return the schedule that `choice` names, over a budget of `epochs`.

    Raises:
        ValueError: an unknown schedule or parameter, or a value out of range.
    """
    return build("scheduler", choice, SCHEDULES, epochs=epochs)


def constant(warmup: float = 0.0) -> Schedule:
    """The full learning rate throughout, after a linear warm-up over a share of the budget."""
    return _warmed(warmup, lambda along: 1.0)


def cosine(warmup: float = 0.05, floor: float = 0.01) -> Schedule:
    """Half a cosine from the full learning rate down to `floor` of it. Source: Loshchilov and Hutter 2017."""
    _check_factor("floor", floor)
    return _warmed(warmup, lambda along: _between(floor, 1, _half_cosine(along)))


def cosine_restarts(
    first_cycle: float = 0.25, multiplier: float = 1.0, warmup: float = 0.1, decay: float = 1.0, floor: float = 0.01
) -> Schedule:
    """Cosines that start again. Source: Loshchilov and Hutter 2017; warm-up and decay of peaks as commonly added.

    Args:
        first_cycle: length of the first cycle, as a share of the budget.
        multiplier: each cycle's length as a multiple of the one before.
        warmup: linear warm-up of each cycle, as a share of that cycle.
        decay: each peak as a share of the one before.
        floor: the lowest factor, which each cycle begins and ends with.
    """
    _check_length("first_cycle", first_cycle)
    _check_share("warmup", warmup)
    _check_factor("decay", decay)
    _check_factor("floor", floor)
    if not 1 <= multiplier <= 10:
        raise ValueError(f"multiplier must be 1 to 10, found {multiplier:g}")

    def factor(spent: float, _: Sequence[float]) -> float:
        start, length, peak = 0.0, first_cycle, 1.0
        while spent >= start + length - 1e-9:
            start, length, peak = start + length, length * multiplier, peak * decay
        along = max(spent - start, 0) / length
        if along < warmup:
            return max(_between(floor, max(peak, floor), along / warmup), LOWEST)
        return _between(floor, max(peak, floor), _half_cosine((along - warmup) / (1 - warmup)))

    return factor


def one_cycle(warmup: float = 0.3, start: float = 0.04, floor: float = 1e-4) -> Schedule:
    """One cosine up from `start` of the learning rate and one down to `floor`. Source: Smith and Topin 2018."""
    _check_share("warmup", warmup)
    _check_factor("start", start)
    _check_factor("floor", floor)

    def factor(spent: float, _: Sequence[float]) -> float:
        if spent < warmup:
            return _between(1, start, _half_cosine(spent / warmup))
        return _between(floor, 1, _half_cosine((spent - warmup) / (1 - warmup)))

    return factor


def polynomial(power: float = 0.9, warmup: float = 0.05) -> Schedule:
    """(1 - spent)^power. Source: Chen et al. 2017 (DeepLab), with power 0.9."""
    if not 0 < power <= 10:
        raise ValueError(f"power must be above 0 and at most 10, found {power:g}")
    return _warmed(warmup, lambda along: max(1 - along, 0) ** power)


def step(drops: int = 2, gamma: float = 0.1, warmup: float = 0.0) -> Schedule:
    """The learning rate times `gamma` at `drops` moments that part the budget evenly."""
    if drops < 1:
        raise ValueError(f"drops must be at least 1, found {drops}")
    _check_factor("gamma", gamma)
    return _warmed(warmup, lambda along: gamma ** min(int(along * (drops + 1) + 1e-9), drops))


def plateau(
    epochs: int, factor: float = 0.5, patience: float = 0.15, warmup: float = 0.0, floor: float = 0.01
) -> Schedule:
    """The learning rate times `factor` whenever val_miou has not risen over `patience`, a share of the budget."""
    _check_factor("factor", factor)
    _check_length("patience", patience)
    _check_factor("floor", floor)
    _check_share("warmup", warmup)
    wait = max(round(patience * epochs), 1)

    def now(spent: float, val_mious: Sequence[float]) -> float:
        if spent < warmup:
            return max(spent / warmup, LOWEST)
        value, best, since = 1.0, -math.inf, 0
        for val_miou in val_mious:
            since = 0 if val_miou > best else since + 1
            best = max(best, val_miou)
            if since == wait:
                value, since = value * factor, 0
        return max(value, floor)

    return now


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "one_cycle": one_cycle,
    "polynomial": polynomial,
    "step": step,
    "plateau": plateau,
}


def _warmed(warmup: float, shape: Callable[[float], float]) -> Schedule:
    """Return linear warm-up over a share of the budget, then `shape` over the rest (0 to 1)."""
    _check_share("warmup", warmup)

    def factor(spent: float, _: Sequence[float]) -> float:
        if spent < warmup:
            return max(spent / warmup, LOWEST)
        return shape((spent - warmup) / (1 - warmup))

    return factor


def _half_cosine(along: float) -> float:
    """Fall from 1 to 0 as `along` goes from 0 to 1."""
    return (1 + math.cos(math.pi * along)) / 2


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a share, 0 to below 1, found {value:g}")


def _check_factor(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a factor, 0 to 1, found {value:g}")


def _check_length(name: str, value: float) -> None:
    if not 0 < value <= 1:
        longer = ": longer than the budget" if value > 1 else ""
        raise ValueError(f"{name} is a share of the budget, above 0 and at most 1, found {value:g}{longer}")
