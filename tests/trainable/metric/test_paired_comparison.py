"""What makes configs distinguishable: their photos, their trainings, and both together."""

import numpy as np
import pytest

from trainable.metric.bootstrap import mean_ious, tallies
from trainable.metric.noise import SEED_SD
from trainable.metric.paired_comparison import ALPHA, HELD, compare, level, miou, standings

C = 5


def confusions(photos, good, seed=0):
    """Return confusion matrices (N, C, C); a photo is as hard for every config."""
    hard = np.random.default_rng(0).uniform(0.5, 1.5, photos)
    rng = np.random.default_rng([*np.atleast_1d(seed), photos])
    hits = rng.poisson(200 * good * hard[:, None] / hard.mean(), (photos, C))
    wrong = rng.poisson(20, (photos, C, C)) * (1 - np.eye(C, dtype=int))
    return wrong + hits[:, :, None] * np.eye(C, dtype=int)


def training(miou, photos=60):
    """Return tallies of an exact mIoU, every photo alike."""
    return np.tile([miou * 1000] * C + [1000.0] * C, (photos, 1))


def half(cells, configs=2, alpha=ALPHA):
    """Return half the width of the interval of a difference of configs whose photos are all alike."""
    same = {number: {cell: training(0.3) for cell in cells} for number in range(configs)}
    found = compare(same, cells, alpha).differences[1]
    assert found.value == 0 and found.low == pytest.approx(-found.high)
    return found.high


def test_the_metric_is_that_of_the_confusion_matrices():
    matrices = confusions(30, 0.5)
    matrices[:, 3, :] = matrices[:, :, 3] = 0  # in neither truth nor prediction
    assert miou(tallies(matrices)) == pytest.approx(mean_ious(matrices)[0])
    standing = compare({7: {(0, 0): tallies(matrices)}}, [(0, 0)])
    assert standing.values[7].value == pytest.approx(mean_ious(matrices)[0])
    assert standing.values[7].low < standing.values[7].value < standing.values[7].high


def test_more_configs_and_more_looks_take_wider_intervals():
    cells = [(0, 0)]
    assert half(cells) < half(cells, 8) < half(cells, 20)
    assert half(cells, alpha=0.05) < half(cells, alpha=0.01)
    # One training each: Student's t with the weight of the known noise.
    assert half(cells) == pytest.approx(2.306 * 2**0.5 * SEED_SD, rel=1e-3)


def test_all_looks_together_stay_within_what_is_promised():
    for folds in (1, 2, 5):
        rungs = [(fold, seed) for seed in range(30) for fold in range(folds)]
        used = np.cumsum([level(rungs, rung) for rung in rungs])
        assert used[-1] == pytest.approx(ALPHA) and used[folds - 1] == pytest.approx(ALPHA * 2 / 3)
        # What was used so far is the same whether further seeds follow or not.
        assert [level(rungs[:folds], rung) for rung in rungs[:folds]] == [level(rungs, rung) for rung in rungs[:folds]]


def test_one_that_is_out_stays_out_at_the_level_at_which_it_went():
    rungs = [(0, 0), (1, 0), (0, 1)]
    results = {
        1: dict.fromkeys(rungs, training(0.3)),
        2: dict.fromkeys(rungs, training(0.3)),
        3: dict.fromkeys(rungs, training(0.25)),
    }
    first, second, third = standings(results, rungs)
    assert first.alike == (1, 2, 3) and second.alike == third.alike == (1, 2)
    assert third.levels[3] == second.levels[3] and third.levels[2] < second.levels[2]


def test_the_leader_has_been_everywhere_and_the_others_are_compared_where_they_were():
    cells = [(0, 0), (1, 0)]
    results = {
        1: {(0, 0): training(0.30), (1, 0): training(0.40)},
        2: {(0, 0): training(0.31), (1, 0): training(0.38)},
        3: {(0, 0): training(0.10)},
        4: {(0, 0): training(0.50)},  # better where it was, but not yet everywhere
        5: {},
    }
    found = compare(results, cells)
    assert found.leader == 1 and found.alike == (1, 4, 2) and found.ranked == [1, 4, 2, 3]
    assert found.differences[3].value == pytest.approx(-0.2) and found.differences[3].high < 0
    assert set(found.values) == {1, 2} and found.photos == 120
    with pytest.raises(ValueError, match=r"no config was trained on all of \[\(7, 0\)\]"):
        compare(results, [(7, 0)])


def test_one_says_best_only_of_what_is_apart():
    cells = [(0, 0), (1, 0)]
    results = {number: dict.fromkeys(cells, training(miou)) for number, miou in ((7, 0.4), (3, 0.39), (12, 0.395))}
    told = compare(results, cells).verdict()
    assert told.startswith("trials 7, 12 and 3 are indistinguishable on 120 photos x 1 seed: the last less the")
    assert told.endswith(f", {HELD}")
    assert "best" not in told
    pair = compare({number: results[number] for number in (7, 3)}, cells).verdict(lambda number: f"run/{number}")
    assert pair.startswith("trials run/7 and run/3 are indistinguishable") and "less the first is -0.010 (" in pair
    apart = {7: results[7], **{number: dict.fromkeys(cells, training(0.2)) for number in (3, 12)}}
    told = compare(apart, cells).verdict()
    assert told.startswith("trial 7 is the best on 120 photos x 1 seed: trial 3, the nearest, less it is -0.200 (-0.")
    assert "of these" not in told
    part = compare({7: results[7], 3: {(1, 0): training(0.2)}}, cells).verdict()
    assert "trial 3 less it is -0.200 (" in part and part.endswith(f" on 60 of these photos, {HELD}")
    assert "nothing to compare" in compare({7: results[7]}, cells).verdict()


def test_one_that_is_out_comes_back_when_the_leader_disappoints():
    rungs = [(0, 0), (1, 0), (2, 0)]
    results = {
        1: {(0, 0): training(0.50), (1, 0): training(0.20), (2, 0): training(0.2)},
        2: {(0, 0): training(0.44), (1, 0): training(0.36), (2, 0): training(0.2)},
        3: {(0, 0): training(0.38)},
    }
    first, second = standings(results, rungs)  # the third rung waits for it
    assert first.alike == (1, 2) and second.alike[0] == 2 and 3 in second.alike
    results[3] |= {(1, 0): training(0.4), (2, 0): training(0.4)}
    assert standings(results, rungs)[-1].leader == 3


def test_a_rung_counts_when_all_in_the_race_have_it():
    rungs = [(0, 0), (1, 0), (0, 1)]
    results = {1: {(0, 0): training(0.3)}, 2: {}}
    assert standings(results, rungs) == []
    results[2] = {(0, 0): training(0.1), (1, 0): training(0.9)}
    assert [each.alike for each in standings(results, rungs)] == [(1,)]
    assert [each.alike for each in standings(results, rungs, drop=False)] == [(1,)]
    results[1][1, 0] = training(0.3)
    # A further seed of the only one that is left would decide nothing.
    assert len(standings({1: dict.fromkeys(rungs, training(0.3))}, rungs)) == 2
