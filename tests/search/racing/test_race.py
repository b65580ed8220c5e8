"""The race: who is trained on what next, whatever order trainings end in."""

import itertools
import random

import numpy as np
import pytest

from search.racing.race import Race, rungs_of
from tests.trainable.metric.test_paired_comparison import training

WORTH = {1: 0.30, 2: 0.31, 3: 0.15, 4: 0.308}


def value(number, cell):
    return WORTH[number] + np.random.default_rng([number, *cell]).normal(0, 0.004)


def finish(race, workers=1, order=None):
    """Train to the end with so many workers; returns what was trained in which order."""
    running, trained = [], []
    while True:
        while len(running) < workers and (task := race.next(running)):
            running.append(task)
        if not running:
            return trained
        number, cell = task = running.pop(order.randrange(len(running)) if order else 0)
        trained.append(task)
        if number in race.results:
            race.observe(number, cell, training(value(number, cell)))


def test_folds_come_before_seeds_and_the_search_s_own_fold_last():
    assert rungs_of(range(4), 0, 1) == [(1, 0), (2, 0), (3, 0), (0, 0)]
    assert rungs_of([0, 1, 2], 1, 2) == [(0, 0), (2, 0), (1, 0), (0, 1), (2, 1), (1, 1)]
    assert rungs_of([0, 1], 4, 1) == [(0, 0), (1, 0)]


def test_what_is_shown_to_be_worse_is_out_after_the_first_fold_and_the_others_go_through_all():
    race, out = Race([1, 2, 3, 4], rungs_of(range(3), 0, 1)), []
    race.tell = lambda number, standing: out.append((number, standing.cells))
    race.observe(2, (0, 0), training(value(2, (0, 0))))  # the search trained it whole
    assert len(race.left()) == 11
    trained = finish(race)
    assert trained[:4] == [(number, (1, 0)) for number in (1, 2, 3, 4)]
    assert out == [(3, ((1, 0),))]
    assert [each for each in trained if each[0] == 3] == [(3, (1, 0))]
    assert len(trained) == 4 + 3 + 2 and not race.left() and set(race.standings[-1].alike) == {1, 2, 4}


def test_without_the_race_all_are_trained_on_all():
    race = Race([3, 1], rungs_of(range(3), 0, 1), drop=False)
    assert finish(race) == [(number, cell) for cell in race.rungs for number in (3, 1)]
    assert race.standings[-1].alike == (1,)  # what is so is said all the same


def test_a_lone_winner_gets_all_folds_but_no_further_seed():
    race = Race([1, 3], rungs_of(range(3), 0, 4))
    trained = finish(race)
    assert trained == [(1, (1, 0)), (3, (1, 0)), (1, (2, 0)), (1, (0, 0))]
    assert race.standings[-1].verdict().startswith("trial 1 is the best")


def test_seeds_go_on_until_intervals_are_apart():
    race = Race([1, 2], rungs_of(range(2), 0, 40))
    WORTH[2] = 0.315
    trained = finish(race)
    assert 4 < len(trained) < 80 and race.standings[-1].alike == (2,)
    WORTH[2] = 0.31


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_workers_are_never_idle_and_the_end_is_the_same_in_any_order(workers):
    alone = Race([1, 2, 3, 4], rungs_of(range(4), 0, 2))
    finish(alone)
    for seed in range(5):
        race = Race([1, 2, 3, 4], rungs_of(range(4), 0, 2))
        trained = finish(race, workers, random.Random(seed))
        assert len(set(trained)) == len(trained)
        assert [each.alike for each in race.standings] == [each.alike for each in alone.standings]
        assert race.standings[-1].differences.keys() == alone.standings[-1].differences.keys()
    busy = []
    race = Race([1, 2, 3, 4], rungs_of(range(4), 0, 1))
    while task := race.next(busy):
        busy.append(task)
    assert busy == list(itertools.product((1, 2, 3, 4), [(1, 0)])) + [
        (number, cell) for cell in race.rungs[1:] for number in (1, 2, 3, 4)
    ]


def test_an_interrupted_race_goes_on_as_one_that_was_not():
    whole = Race([1, 2, 3, 4], rungs_of(range(4), 0, 2))
    trained = finish(whole)
    for cut in range(len(trained)):
        race = Race([1, 2, 3, 4], whole.rungs)
        for number, cell in random.Random(cut).sample(trained[:cut], cut):
            race.observe(number, cell, training(value(number, cell)))
        assert finish(race) == trained[cut:]


def test_one_that_broke_takes_part_no_more():
    race = Race([1, 2, 4], rungs_of(range(3), 0, 1))
    race.observe(1, (1, 0), training(0.3))
    race.observe(2, (1, 0), training(0.3))
    assert not race.standings
    race.withdraw(4)
    assert race.standings and all(number != 4 for number, _ in race.left())
    for number in (1, 2):
        race.withdraw(number)
    assert race.next() is None and not race.standings


def test_what_would_not_come_to_its_end_is_not_begun_and_seeds_go_by_whole_rungs():
    race, asked = Race([1, 2], rungs_of(range(2), 0, 2)), []
    for number, cell in itertools.product((1, 2), ((1, 0), (0, 0))):
        race.observe(number, cell, training(value(number, cell)))

    def fits(tasks):
        asked.append(list(tasks))
        return False

    race.fits = fits
    assert race.next() is None and race.limited
    assert asked == [[(1, (1, 1)), (2, (1, 1))]] or asked == [[(2, (1, 1)), (1, (1, 1))]]
    fresh = Race([1, 2], rungs_of(range(2), 0, 2))
    fresh.fits = fits
    assert fresh.next() is None and asked[-1] == [(1, (1, 0))]
