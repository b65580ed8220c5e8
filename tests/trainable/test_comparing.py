"""What makes configs distinguishable: their photos, their trainings, and both together."""

import numpy as np
import pytest

from trainable.bootstrap import difference_interval, mean_ious
from trainable.comparing import (
    NORMAL_95,
    SEED_SD,
    compare,
    difference,
    shares,
    standings,
    tallies,
    training_deviation,
)

C = 5


def confusions(photos, good, seed=0):
    """Return confusion matrices (N, C, C); a photo is as hard for every config."""
    hard = np.random.default_rng(0).uniform(0.5, 1.5, photos)
    rng = np.random.default_rng([seed, photos])
    hits = rng.poisson(200 * good * hard[:, None] / hard.mean(), (photos, C))
    wrong = rng.poisson(20, (photos, C, C)) * (1 - np.eye(C, dtype=int))
    return wrong + hits[:, :, None] * np.eye(C, dtype=int)


def training(miou, photos=60):
    """Return tallies of an exact mIoU, every photo alike."""
    return np.tile([miou * 1000] * C + [1000.0] * C, (photos, 1))


def test_shares_add_up_to_the_metric():
    matrices = confusions(30, 0.5)
    matrices[:, 3, :] = matrices[:, :, 3] = 0  # in neither truth nor prediction
    value, each = shares(tallies(matrices))
    assert value == pytest.approx(mean_ious(matrices)[0])
    assert each.shape == (30,) and each.sum() == pytest.approx(0, abs=1e-12)
    # A share is what the metric changes by when its photo counts a little more.
    more = np.ones((1, 30))
    more[0, 7] += 1e-4
    assert each[7] == pytest.approx((mean_ious(matrices, more)[0] - value) / 1e-4, rel=1e-3)


def test_photos_part_is_that_of_the_paired_bootstrap():
    one, other = confusions(200, 0.5), confusions(200, 0.52, seed=1)
    found = difference({(0, 0): tallies(one)}, {(0, 0): tallies(other)}, [(0, 0)], deviation=0.0)
    bootstrap = difference_interval(one, other)
    assert found.value == pytest.approx(bootstrap.value)
    assert found.high - found.low == pytest.approx(bootstrap.high - bootstrap.low, rel=0.1)
    alone = 2 * NORMAL_95 * np.sqrt(sum((shares(tallies(each))[1] ** 2).sum() for each in (one, other)))
    assert found.high - found.low < alone


def test_trainings_part_shrinks_with_folds_and_seeds():
    def half(cells):
        config = {cell: training(0.3) for cell in cells}
        found = difference(config, config, cells, SEED_SD)
        return (found.high - found.low) / 2

    one = NORMAL_95 * 2**0.5 * SEED_SD
    assert half([(0, 0)]) == pytest.approx(one)
    assert half([(0, 0), (1, 0), (2, 0), (3, 0)]) == pytest.approx(one / 2)
    assert half([(0, 0), (0, 1), (1, 0), (1, 1)]) == pytest.approx(one / 2)
    # Four seeds of one fold and one of the other: the one decides.
    assert half([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]) == pytest.approx(one * (1.25**0.5) / 2)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_noise_between_seeds_is_learned(seeds):
    cells = [(fold, seed) for seed in range(seeds) for fold in range(5)]

    def found(noise):
        rng = np.random.default_rng(0)
        return training_deviation([{cell: training(0.3 + rng.normal(0, noise)) for cell in cells} for _ in range(8)],
                                  cells)  # fmt: skip

    assert 0.02 < found(0.03) < 0.035
    assert found(0.001) < 0.01
    assert training_deviation([{(0, 0): training(0.3)}], [(0, 0)]) == pytest.approx(SEED_SD)


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
    assert "best" not in told
    pair = compare({number: results[number] for number in (7, 3)}, cells).verdict(lambda number: f"run/{number}")
    assert pair.startswith("trials run/7 and run/3 are indistinguishable") and "less the first is -0.010 (" in pair
    apart = {7: results[7], **{number: dict.fromkeys(cells, training(0.2)) for number in (3, 12)}}
    told = compare(apart, cells).verdict()
    assert told.startswith("trial 7 is the best on 120 photos x 1 seed: trial 3, the nearest, less it is -0.200 (-0.")
    assert "of these" not in told
    part = compare({7: results[7], 3: {(1, 0): training(0.2)}}, cells).verdict()
    assert "trial 3 less it is -0.200 (" in part and part.endswith(" on 60 of these photos")
    assert "nothing to compare" in compare({7: results[7]}, cells).verdict()


def test_one_that_is_out_comes_back_when_the_leader_disappoints():
    rungs = [(0, 0), (1, 0), (2, 0)]
    results = {
        1: {(0, 0): training(0.50), (1, 0): training(0.20), (2, 0): training(0.2)},
        2: {(0, 0): training(0.48), (1, 0): training(0.30), (2, 0): training(0.2)},
        3: {(0, 0): training(0.44)},
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
