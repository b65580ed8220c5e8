"""What is said of configs is wrong no more often than promised, on a few made-up races; the benchmark has many."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from benchmarks import error_rates
from benchmarks.error_rates import PHOTOS, intervals, race, rates, show, world
from benchmarks.parts.made_photos import PRESENT
from trainable.metric.bootstrap import sums_to_mious
from trainable.metric.noise import SEED_SD


@pytest.mark.parametrize(("configs", "races"), [(2, 30), (8, 8)])
def test_equal_configs_stay_in_the_race_and_none_is_called_the_best(configs, races):
    out, best = np.array([race((seed, SEED_SD, configs, 3)) for seed in range(races)]).mean(0)
    assert (best <= out).all() and (np.diff(out) >= 0).all()
    assert out[-1] <= 0.1


def test_intervals_hold_the_truth():
    found = [intervals((seed, SEED_SD, PHOTOS)) for seed in range(20)]
    for case in found[0]:
        held = np.mean([0 <= each[case] <= 1 for each in found])
        assert held >= 0.8, case


def test_made_photos_show_classes_as_often_as_they_should_and_seeds_make_the_noise_they_should():
    made, rng = world(SEED_SD), np.random.default_rng(0)
    photos = made.photos(rng, 20_000)
    assert (photos.area > 0).mean(0) == pytest.approx(PRESENT, abs=0.015)
    assert photos.area.sum(1) == pytest.approx(256 * 256, abs=len(PRESENT))
    values = []
    for seed in range(30):
        shift = made.shift(np.random.default_rng([seed, 1]))
        found = made.tallies(np.random.default_rng(2), photos, made.apart, shift)
        assert (found >= 0).all() and (found[:, : len(PRESENT)] <= found[:, len(PRESENT) :]).all()
        values.append(sums_to_mious(found.sum(0, keepdims=True))[0])
    assert 0.7 * SEED_SD < np.std(values) < 1.3 * SEED_SD


def test_what_is_printed_has_a_rate_for_each_case(monkeypatch):
    for name, value in (("CONFIGS", (2,)), ("FOLDS", (3,)), ("COUNTS", (20,))):
        monkeypatch.setattr(error_rates, name, value)
    found = rates(2, [0.015], 2)
    assert set(found) == {"thrown_out", "wrongly_best", "coverage"}
    assert list(found["thrown_out"]) == [f"2 configs, 3 folds, {seeds} seeds, noise 0.015" for seeds in range(1, 6)]
    assert json.loads(json.dumps(found)) == found and "value, rare classes, 20 photos" in found["coverage"]
    show(found, console := Console(file=io.StringIO(), width=100))
    assert "called the best" in console.file.getvalue()
