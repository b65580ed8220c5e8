"""Forecasts where learning curves end, from the epochs so far.

What a trial still gains is regressed on its value at the same epoch over the trials that went to the end. The prior is
that curves grow by a power law, all alike: it weighs as much as a few trials, so it holds while none has ended, and
gives way to what this run's curves do, be it that early leaders win or that late risers do. The curves of earlier
searches, where there are any, weigh as much as some more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

PRIOR_TRIALS = 2.0
"""What the prior weighs, in trials that went to the end."""

EARLIER_TRIALS = 3.0
"""What the curves of earlier searches weigh together at most, in trials of this one."""

POWER = 0.3
"""Of the epoch, by which the prior lets val_miou grow: nine epochs double it, as on real photos."""

PRIOR_SPREAD = 0.5
"""Standard deviation of the prior's gain, as a share of it."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ends:
    """Forecast ends of some trials, each (n,): NaN for those without an epoch."""

    best: Array  # the best value of all epochs, never below what has been reached
    mean: Array  # the same by regression alone: below what has been reached, more epochs are to add nothing
    deviation: Array  # of `mean`; 0 for those that have ended


def forecast_ends(curves: Array, epochs: NDArray[np.int64], earlier: Array | None = None) -> Ends:
    """Forecast the best value that each trial will have reached at the end of its budget.

    Args:
        curves: (n, E) a value per epoch of the budget, NaN from the first epoch on that has not been trained.
        epochs: (n,) how many have been.
        earlier: (m, E) whole curves of earlier searches, on the scale of these.
    """
    smooth, budget = _smooth(curves), curves.shape[1]
    whole = epochs >= budget
    mean, deviation = np.full(len(curves), np.nan), np.full(len(curves), np.nan)
    mean[whole], deviation[whole] = np.max(curves[whole], axis=1), 0.0
    others = np.empty((0, budget)) if earlier is None else earlier
    weights = np.append(np.ones(whole.sum()), np.full(len(others), min(EARLIER_TRIALS / max(len(others), 1), 1.0)))
    for epoch in np.unique(epochs[(epochs > 0) & ~whole]):
        at = epochs == epoch
        whole_values = np.append(smooth[whole, epoch - 1], _smooth(others)[:, epoch - 1])
        gains = np.append(mean[whole], others.max(1)) - whole_values
        gain, spread = _gain(
            smooth[epochs >= epoch, epoch - 1], whole_values, gains, weights, (budget / epoch) ** POWER - 1
        )
        value = smooth[at, epoch - 1]
        mean[at], deviation[at] = value + gain(value), spread(value)
    return Ends(np.fmax(mean, np.fmax.reduce(curves, axis=1)), mean, deviation)


def _smooth(curves: Array) -> Array:
    """Return each epoch's mean with the one before."""
    smooth = curves.copy()
    smooth[:, 1:] = (curves[:, 1:] + curves[:, :-1]) / 2
    return smooth


def _gain(values: Array, whole_values: Array, gains: Array, weights: Array, growth: float):  # type: ignore[no-untyped-def]
    """Regress what is gained from an epoch to the end; returns its mean and deviation as functions of the value.

    Args:
        values: (n,) of the trials that came to the epoch, at it.
        whole_values: (m,) the same of those that went to the end.
        gains: (m,) what these gained.
        weights: (m,) in trials.
        growth: that the prior expects, as a share of the value.
    """
    center = values.mean()
    variance = max(values.var() if len(values) > 1 else (center / 2) ** 2, 1e-6)
    expected, weight = growth * center, weights.sum() + PRIOR_TRIALS
    mean_gain = ((weights * gains).sum() + PRIOR_TRIALS * expected) / weight
    mean_value = ((weights * whole_values).sum() + PRIOR_TRIALS * center) / weight
    squares = (weights * (whole_values - mean_value) ** 2).sum() + PRIOR_TRIALS * variance
    slope = (weights * (whole_values - mean_value) * (gains - mean_gain)).sum() / squares
    residuals = gains - mean_gain - slope * (whole_values - mean_value)
    prior = max(PRIOR_SPREAD * abs(expected) + 0.1 * abs(center), 1e-3)
    noise = ((weights * residuals**2).sum() + PRIOR_TRIALS * prior**2) / weight

    def gain(value: Array) -> Array:
        return mean_gain + slope * (value - mean_value)

    def spread(value: Array) -> Array:
        return np.sqrt(noise * (1 + 1 / weight + (value - mean_value) ** 2 / squares))

    return gain, spread


def chances(curves: Array, epochs: NDArray[np.int64], earlier: Array | None = None) -> Array:
    """Return how likely each trial is to end in front of all others, (n,).

    What it has to pass is the best value of any trial so far and the forecast of the one that is to lead. A trial that
    has ended has none left; one without an epoch is sure to be worth its first. Trials of `earlier` searches, see
    `forecast_ends`, have not to be passed.
    """
    ends, begun = forecast_ends(curves, epochs, earlier), epochs > 0
    result = np.where(begun, 0.0, 1.0)
    going = begun & (epochs < curves.shape[1])
    if not going.any():
        return result
    reached = np.nanmax(curves[begun])
    forecast = np.where(begun, ends.best, -np.inf)
    leader = int(np.argmax(forecast))
    others = np.max(np.delete(forecast, leader), initial=-np.inf)
    to_pass = np.full(len(curves), max(reached, forecast[leader]))
    to_pass[leader] = max(reached, others)
    result[going] = ndtr((ends.mean[going] - to_pass[going]) / ends.deviation[going])
    return result
