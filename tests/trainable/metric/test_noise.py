"""How sure a difference is: what photos and seeds add to its variance, and how well that is known."""

import numpy as np
import pytest

from tests.trainable.metric.test_paired_comparison import confusions, training
from trainable.metric.bootstrap import difference_interval, tallies
from trainable.metric.noise import SEED_SD, SEED_WEIGHT, Draws, Noise, gap, pooled_sums, seed_noise


def drawn(config):
    return {cell: Draws(found, cell[0]) for cell, found in config.items()}


def test_the_first_sum_is_of_the_photos_as_they_are_and_folds_have_their_own_draws():
    found = tallies(confusions(30, 0.5))
    one, again, other = Draws(found, 0), Draws(found, 0), Draws(found, 1)
    assert one.sums[0] == pytest.approx(found.sum(0))
    assert (one.sums == again.sums).all() and not np.allclose(one.sums[1:], other.sums[1:])
    seeds = pooled_sums({(0, 0): one, (0, 1): again, (1, 0): other}, [(0, 0), (0, 1), (1, 0)])
    assert seeds == pytest.approx(one.sums + other.sums)


def test_photos_part_is_that_of_the_paired_bootstrap():
    one, other = confusions(200, 0.5), confusions(200, 0.52, seed=1)
    pair = [Draws(tallies(each), 0).mious for each in (one, other)]
    found = gap((pair[0] - pair[1])[0], (pair[0] - pair[1])[1:], 200).interval(0.05)
    bootstrap = difference_interval(one, other)
    assert found.value == pytest.approx(bootstrap.value)
    assert (found.low, found.high) == pytest.approx((bootstrap.low, bootstrap.high), abs=0.1 * (found.high - found.low))


def test_seeds_part_shrinks_with_folds_and_seeds():
    noise = Noise(SEED_SD**2, SEED_WEIGHT)
    assert noise.variance_over([(0, 0)]) == pytest.approx(SEED_SD**2)
    assert noise.variance_over([(0, 0), (1, 0), (2, 0), (3, 0)]) == pytest.approx(SEED_SD**2 / 4)
    assert noise.variance_over([(0, 0), (0, 1), (1, 0), (1, 1)]) == pytest.approx(SEED_SD**2 / 4)
    # Four seeds of one fold and one of the other: the one decides.
    assert noise.variance_over([(0, seed) for seed in range(4)] + [(1, 0)]) == pytest.approx(SEED_SD**2 * 1.25 / 4)


def test_the_less_the_seeds_weigh_the_less_it_matters_that_their_noise_is_known_roughly():
    drawn = np.random.default_rng(0).normal(0, 0.01, 1000)
    freedoms = [gap(0.0, drawn, 10_000, Noise(each**2, 8.0), [(0, 0)]).freedom for each in (0.1, 0.01, 0.001)]
    assert 8 < freedoms[0] < freedoms[1] < freedoms[2] and freedoms[2] > 1000


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_noise_between_seeds_is_learned(seeds):
    cells = [(fold, seed) for seed in range(seeds) for fold in range(5)]

    def found(sd):
        rng = np.random.default_rng(0)
        return seed_noise([drawn({cell: training(0.3 + rng.normal(0, sd)) for cell in cells}) for _ in range(8)], cells)

    assert 0.02 < found(0.03).variance ** 0.5 < 0.035 and found(0.001).variance ** 0.5 < 0.01
    assert found(0.03).freedom == pytest.approx(SEED_WEIGHT + 7 * 4 + (seeds - 1) * 8 * 5)
    alone = seed_noise([drawn({(0, 0): training(0.3)})], [(0, 0)])
    assert (alone.variance, alone.freedom) == (pytest.approx(SEED_SD**2), SEED_WEIGHT)


def test_photos_that_differ_are_not_taken_for_seeds():
    cells = [(fold, 0) for fold in range(5)]
    configs = [drawn({cell: tallies(confusions(40, 0.5, [number, cell[0]])) for cell in cells}) for number in range(6)]
    found = seed_noise(configs, cells)
    spread = np.std([[each[cell].mious[0] for each in configs] for cell in cells], axis=1).mean()
    assert found.variance**0.5 < max(spread, SEED_SD) and found.freedom < SEED_WEIGHT + 20
