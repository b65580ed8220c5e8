"""Which configs cannot be told apart: paired differences between their trainings on the same folds and seeds.

Two configs are compared over the trainings that both have, each photo by the models that did not train on it. A
difference of val_miou is unsure for two reasons, whose variances add up:

- The photos. Those of each fold are drawn again with replacement, the same ones for all configs. The mean of the
  differences over such draws by their standard deviation is close to normal far into the tails, also where a class is
  in one photo only. (The difference on the photos as they are by that deviation is not: such a class counts in full.)
- The trainings. With another seed the same config comes to another val_miou, which no resampling of photos shows. Of
  that the standard deviation is `SEED_SD` at the start and is learned from the trainings at hand: from repeats with
  other seeds, and from what folds disagree on about the same configs beyond their photos' share. As it is known only
  roughly, the quantiles are those of Student's t, with the degrees of freedom of Satterthwaite 1946.

Of equal configs one leads all the same, and the further, the more there are and the more often one looks. So a config
is out only where it is behind the leader at a level at which all pairs in all looks together are wrong in at most
`ALPHA` of races (Bonferroni). `python -m benchmarks.error_rates` counts how often they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from trainable.counts import counted
from trainable.metric.bootstrap import Interval, Tallies, middle, sums_to_mious, value_draws
from trainable.metric.noise import Cell, Drawn, Draws, Noise, gap, pooled_sums, seed_noise

ALPHA = 0.05
"""In at most this share of races of equal configs is one said to be worse than another, or the best."""

HELD = "95% for the whole race"
"""What intervals of differences hold."""

Results = Mapping[int, Mapping[Cell, Tallies]]
"""By config and cell; of one fold the photos are in the same order everywhere."""


@dataclass(frozen=True)
class Standing:
    """How configs stand to each other."""

    cells: tuple[Cell, ...]
    leader: int
    alike: tuple[int, ...]  # the leader and those not shown to be worse, the closest first
    differences: dict[int, Interval]  # of each other config's val_miou less the leader's, `HELD`
    compared: dict[int, int]  # photos that the difference is over: those of the folds that both were trained on
    photos: int  # of all cells
    levels: dict[int, float]  # at which each was tested against the leader
    whole: tuple[int, ...]  # those that were trained on all cells
    value: Callable[[int], Interval]  # of one of these the 95% interval of val_miou

    @cached_property
    def values(self) -> dict[int, Interval]:
        """The 95% intervals of val_miou of those that were trained on all cells."""
        return {number: self.value(number) for number in self.whole}

    @property
    def ranked(self) -> list[int]:
        """All of them: those alike, then the others, the closest to the leader first."""
        rest = [number for number in self.differences if number not in self.alike]
        return [*self.alike, *sorted(rest, key=lambda number: -self.differences[number].value)]

    def verdict(self, label: Callable[[int], str] = str) -> str:
        """Say in one sentence which config is the best, or which cannot be told apart."""
        seeds = max(seed for _, seed in self.cells) + 1
        on = f"on {counted(self.photos, 'photo')} x {counted(seeds, 'seed')}"
        if len(self.alike) > 1:
            names = f"{', '.join(map(label, self.alike[:-1]))} and {label(self.alike[-1])}"
            widest = min((self.differences[number] for number in self.alike[1:]), key=lambda interval: interval.value)
            return f"trials {names} are indistinguishable {on}: the last less the first is {widest:+}, {HELD}"
        if not self.differences:
            return f"trial {label(self.leader)} was trained {on}, and no other: there is nothing to compare it with"
        nearest = max(self.differences, key=lambda number: self.differences[number].high)
        lead = self.differences[nearest]
        sentence = f"trial {label(self.leader)} is the best {on}: trial {label(nearest)}"
        sentence += ", the nearest," if len(self.differences) > 1 else ""
        part = f" on {self.compared[nearest]} of these photos" if self.compared[nearest] < self.photos else ""
        return f"{sentence} less it is {lead:+}{part}, {HELD}"


def miou(found: Tallies) -> float:
    """Return the mIoU of some photos' tallies."""
    return float(sums_to_mious(found.sum(0, keepdims=True))[0])


def level(rungs: Sequence[Cell], rung: Cell) -> float:
    """Return what of `ALPHA` the look after a rung uses up.

    Of the looks at one seed on all folds, the one after the last fold has half. The first seed has two thirds of all,
    each further one two thirds of what is left: however many follow, and whenever that is decided, it stays below.
    """
    folds = [fold for fold, seed in rungs if not seed]
    seeds = ALPHA * 2 / 3 / 3 ** rung[1]
    if len(folds) < 2:
        return seeds
    return seeds / 2 if rung[0] == folds[-1] else seeds / 2 / (len(folds) - 1)


def standings(
    results: Results, rungs: Sequence[Cell], drop: bool = True, drawn: dict[tuple[int, Cell], Draws] | None = None
) -> list[Standing]:
    """Return how configs stand after each rung of a race, as far as rungs are whole.

    A rung is whole when all that are in the race were trained on it and on those before. After it those that are shown
    to be worse than the leader are out, until they are no longer behind a later leader at the level at which they went;
    what one that is out was trained on meanwhile, by a worker that would have been idle, does not count. With one left
    further seeds decide nothing.

    Args:
        results: of all configs.
        rungs: in the order of the race.
        drop: whether any are out; otherwise all stay.
        drawn: what earlier calls have drawn; added to.
    """
    result: list[Standing] = []
    racing, so_far, out = list(results), dict[int, dict[Cell, Tallies]](), dict[int, float]()
    drawn, draws = {} if drawn is None else drawn, dict[int, dict[Cell, Draws]]()
    for count, rung in enumerate(rungs, start=1):
        whole = all(cell in results[number] for number in racing for cell in rungs[:count])
        if not racing or not whole or (rung[1] and len(racing) == 1):
            break
        for number in racing:
            so_far[number] = {cell: results[number][cell] for cell in rungs[:count]}
            for cell in so_far[number]:
                if (number, cell) not in drawn:
                    drawn[number, cell] = Draws(so_far[number][cell], cell[0])
            draws[number] = {cell: drawn[number, cell] for cell in so_far[number]}
        standing = _compare(so_far, draws, rungs[:count], level(rungs, rung), out)
        result.append(standing)
        if drop:
            racing = list(standing.alike)
            out = {number: standing.levels[number] for number in standing.differences if number not in racing}
    return result


def compare(results: Results, cells: Sequence[Cell], alpha: float = ALPHA) -> Standing:
    """Return how configs stand by their trainings on some cells, looked at once.

    The leader has the best val_miou of those that were trained on all of these cells; every other is compared with it
    over the cells that both have, and left out if there are none.

    Raises:
        ValueError: no config was trained on all of the cells.
    """
    draws = {
        number: {cell: Draws(trainings[cell], cell[0]) for cell in cells if cell in trainings}
        for number, trainings in results.items()
    }
    return _compare(results, draws, cells, alpha, {})


def _compare(results: Results, drawn: Drawn, cells: Sequence[Cell], alpha: float, out: Mapping[int, float]) -> Standing:
    """Return how configs stand; those that are out are tested at the level at which they went."""
    whole = [number for number, trainings in results.items() if all(cell in trainings for cell in cells)]
    if not whole:
        raise ValueError(f"no config was trained on all of {list(cells)}")
    noise = seed_noise([drawn[number] for number in whole], cells)
    mious = {number: sums_to_mious(pooled_sums(drawn[number], cells)) for number in whole}
    leader = max(whole, key=lambda number: mious[number][0])
    compared, gaps = {}, {}
    for number, trainings in results.items():
        common = [cell for cell in cells if cell in trainings]
        if number != leader and common:
            pair = [
                mious[one] if number in mious else sums_to_mious(pooled_sums(drawn[one], common))
                for one in (number, leader)
            ]
            drawn_gap, compared[number] = pair[0] - pair[1], _photos(trainings, common)
            gaps[number] = gap(float(drawn_gap[0]), drawn_gap[1:], compared[number], noise, common)
    levels, racing = dict(out), [number for number in gaps if number not in out]
    while racing:
        # Those that are out leave fewer pairs that could go wrong (Holm 1979).
        levels |= dict.fromkeys(racing, alpha * 2 / len(racing) / (len(racing) + 1))
        apart = [number for number in racing if gaps[number].interval(levels[number]).high < 0]
        racing = [number for number in racing if number not in apart] if apart else []
    differences = {number: config_gap.interval(levels[number]) for number, config_gap in gaps.items()}
    alike = [number for number, interval in differences.items() if interval.high >= 0]
    alike.sort(key=lambda number: -differences[number].value)
    value = partial(_value, dict(results), dict(drawn), tuple(cells), noise)
    photos = _photos(results[leader], cells)
    return Standing(tuple(cells), leader, (leader, *alike), differences, compared, photos, levels, tuple(whole), value)


def _value(results: Results, drawn: Drawn, cells: Sequence[Cell], noise: Noise, number: int) -> Interval:
    """Return the 95% interval of a config's val_miou, over photos and seeds."""
    pooled, sums = _pooled(results[number], cells), pooled_sums(drawn[number], cells)
    seeds = np.random.default_rng(0).standard_t(noise.freedom, len(sums) - 1) * noise.variance_over(cells) ** 0.5
    return middle(sums_to_mious(sums[:1]), value_draws(pooled, sums[1:]) + seeds)


def _photos(trainings: Mapping[Cell, Tallies], cells: Sequence[Cell]) -> int:
    return sum({fold: len(trainings[fold, seed]) for fold, seed in cells}.values())


def _pooled(trainings: Mapping[Cell, Tallies], cells: Sequence[Cell]) -> Tallies:
    """Return the tallies of all photos, of each the mean over the seeds of its fold."""
    folds = sorted({fold for fold, _ in cells})
    return np.concatenate([np.mean([trainings[cell] for cell in cells if cell[0] == fold], axis=0) for fold in folds])
