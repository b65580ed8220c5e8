"""Forecasts of the ends of learning curves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.tuning.curve_extrapolation import chances, forecast_ends

E = 9


def family(crossing, n=40, seed=0):
    """Curves that rise to different heights, the higher the slower where they cross."""
    rng = np.random.default_rng(seed)
    heights = rng.uniform(0.2, 0.8, n)
    slow = 1 + 10 * heights**2 if crossing else np.full(n, 3.0)
    return heights[:, None] * (1 - np.exp(-np.arange(1, E + 1) / slow[:, None])) + rng.normal(0, 0.005, (n, E))


def cut(curves, epochs):
    known = np.where(np.arange(E) < np.array(epochs)[:, None], curves, np.nan)
    return known, np.array(epochs)


@pytest.mark.parametrize("crossing", [False, True])
def test_ends_are_learned_from_whole_curves_whatever_their_shape(crossing):
    curves = family(crossing)
    errors = {}
    for whole in (3, 20):
        ends = forecast_ends(*cut(curves, [E] * whole + [3] * (40 - whole)))
        assert list(ends.best[:whole]) == list(curves[:whole].max(1)) and not ends.deviation[:whole].any()
        off = curves.max(1)[20:] - ends.best[20:]
        errors[whole] = np.abs(off).mean()
        # The deviation is that of the error, not a tenth of it or ten times as much.
        assert 0.3 < np.sqrt((off**2).mean()) / ends.deviation[20:].mean() < 3
    assert errors[20] < errors[3] and errors[20] < 0.07


def test_prior_is_a_power_law():
    ends = forecast_ends(*cut(np.full((1, E), 0.1), [1]))
    assert ends.best[0] == pytest.approx(0.1 * 9**0.3)


def test_later_epochs_are_surer():
    curves = family(False)
    early, late = (forecast_ends(*cut(curves, [E] * 10 + [epoch] * 30)).deviation[10:].mean() for epoch in (1, 7))
    assert late < 0.6 * early


def test_chances_are_of_ending_in_front():
    curves = np.full((5, E), 0.3)
    curves[1], curves[2] = 0.1, 0.5
    found = chances(*cut(curves, [E, 2, 2, 2, 0]))
    assert found[0] == 0  # it has ended
    assert found[1] < found[3] < 0.1 < 0.5 < found[2]
    assert found[4] == 1  # nothing is known of it
    assert list(chances(*cut(curves[:2], [0, 0]))) == [1, 1]
    assert list(chances(*cut(curves[:1], [E]))) == [0]


def test_no_end_is_forecast_below_what_was_reached():
    ends = [0.28, 0.33, 0.36]
    whole = [[end * epoch / 12 for epoch in range(1, 13)] for end in ends]
    fell = [0.15, 0.25, 0.33, 0.38, 0.40, 0.10, *[np.nan] * 6]
    found = forecast_ends(np.array([*whole, fell]), np.array([12, 12, 12, 6]))
    assert list(found.best) == pytest.approx([*ends, 0.40]) and found.mean[3] < 0.40
    # That is what has to be passed, and more epochs of it are worth little.
    assert chances(np.array([*whole, fell]), np.array([12, 12, 12, 6]))[3] < 0.5


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(2, 15))
@settings(max_examples=60, deadline=None)
def test_best_is_at_least_what_was_reached_whatever_the_curves(seed, n, budget):
    rng = np.random.default_rng(seed)
    epochs = rng.integers(0, budget + 1, n)
    curves = np.where(np.arange(budget) < epochs[:, None], rng.uniform(size=(n, budget)), np.nan)
    best = forecast_ends(curves, epochs).best
    assert list(np.isnan(best)) == list(epochs == 0)
    for value, curve, epoch in zip(best, curves, epochs, strict=True):
        assert epoch == 0 or value >= curve[:epoch].max()
        assert epoch < budget or value == curve.max()
