"""Which configs cannot be told apart: paired differences between their trainings on the same folds and seeds.

Two configs are compared over the trainings that both have, each photo by the models that did not train on it. A
difference of val_miou is unsure for two reasons, whose variances add up:

- The photos. Each adds its share to val_miou (the derivative by how often it counts: Efron's infinitesimal jackknife);
  the variance is that of the difference of the two configs' shares, photo by photo.
- The trainings. With another seed the same config comes to another val_miou, which no resampling of photos shows. Of
  that the standard deviation is `SEED_SD` at the start and is learned from the trainings at hand: from repeats with
  other seeds, and from what folds disagree on about the same configs beyond their photos' share.

A config is surely worse than the leader if the 95% interval of their difference, the normal one, lies below 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.bootstrap import Interval

SEED_SD = 0.015
"""Between trainings of one config with other seeds, measured on 339 photos."""

SEED_WEIGHT = 8.0
"""What that weighs, in degrees of freedom, against what a run's own trainings show."""

NORMAL_95 = 1.96
"""Standard deviations to either side that hold 95%."""

Cell = tuple[int, int]
"""What a config is trained on: the fold that validates, and which seed, 0 being the config's own."""

Tallies = NDArray[np.floating]
"""Per photo the hits and the unions of each class, (N, 2C)."""

Results = Mapping[int, Mapping[Cell, Tallies]]
"""By config and cell; of one fold the photos are in the same order everywhere."""


@dataclass(frozen=True)
class Standing:
    """How configs stand to each other."""

    cells: tuple[Cell, ...]
    leader: int
    alike: tuple[int, ...]  # the leader and those not surely worse, the closest first
    values: dict[int, Interval]  # val_miou of those that were trained on all cells
    differences: dict[int, Interval]  # of each other config's val_miou less the leader's
    compared: dict[int, int]  # photos that the difference is over: those of the folds that both were trained on
    photos: int  # of all cells

    @property
    def ranked(self) -> list[int]:
        """All of them: those alike, then the others, the closest to the leader first."""
        rest = [number for number in self.differences if number not in self.alike]
        return [*self.alike, *sorted(rest, key=lambda number: -self.differences[number].value)]

    def verdict(self, label: Callable[[int], str] = str) -> str:
        """Say in one sentence which config is the best, or which cannot be told apart."""
        seeds = max(seed for _, seed in self.cells) + 1
        on = f"on {self.photos} photos x {seeds} seed{'s' * (seeds > 1)}"
        if len(self.alike) > 1:
            names = f"{', '.join(map(label, self.alike[:-1]))} and {label(self.alike[-1])}"
            widest = min((self.differences[number] for number in self.alike[1:]), key=lambda each: each.value)
            return f"trials {names} are indistinguishable {on}: the last less the first is {widest:+}"
        if not self.differences:
            return f"trial {label(self.leader)} was trained {on}, and no other: there is nothing to compare it with"
        nearest = max(self.differences, key=lambda number: self.differences[number].high)
        lead = self.differences[nearest]
        told = f"trial {label(self.leader)} is the best {on}: trial {label(nearest)}"
        told += ", the nearest," * (len(self.differences) > 1)
        part = f" on {self.compared[nearest]} of these photos" * (self.compared[nearest] < self.photos)
        return f"{told} less it is {lead:+}{part}"


def tallies(confusion: NDArray[np.integer]) -> Tallies:
    """Return what val_miou takes of per-photo confusion matrices (N, C, C)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return np.concatenate([hits, confusion.sum(1) + confusion.sum(2) - hits], axis=1).astype(np.float64)


def shares(found: Tallies) -> tuple[float, NDArray[np.float64]]:
    """Return the mIoU of some photos and what each adds to it, (N,), which sum to 0."""
    totals, classes = found.sum(0), found.shape[1] // 2
    there = totals[classes:] > 0  # a class in neither truth nor prediction is left out of the mean
    unions = totals[classes:][there]
    ious = totals[:classes][there] / unions
    each = (found[:, :classes][:, there] - ious * found[:, classes:][:, there]) / unions
    return float(ious.mean()), each.mean(1)


def standings(results: Results, rungs: Sequence[Cell], drop: bool = True) -> list[Standing]:
    """Return how configs stand after each rung of a race, as far as rungs are whole.

    A rung is whole when all that are in the race were trained on it and on those before. After it those that are surely
    worse than the leader are out, until a later leader is no longer surely better; what one that is out was trained on
    meanwhile, by a worker that would have been idle, does not count. With one left further seeds decide nothing.

    Args:
        results: of all configs.
        rungs: in the order of the race.
        drop: whether any are out; otherwise all stay.
    """
    found: list[Standing] = []
    racing, known = list(results), dict[int, Mapping[Cell, Tallies]]()
    for count, rung in enumerate(rungs, start=1):
        whole = all(cell in results[number] for number in racing for cell in rungs[:count])
        if not racing or not whole or (rung[1] and len(racing) == 1):
            break
        known |= {number: {cell: results[number][cell] for cell in rungs[:count]} for number in racing}
        found.append(compare(known, rungs[:count]))
        racing = list(found[-1].alike) if drop else racing
    return found


def compare(results: Results, cells: Sequence[Cell]) -> Standing:
    """Return how configs stand by their trainings on some cells.

    The leader has the best val_miou of those that were trained on all of these cells; every other is compared with it
    over the cells that both have, and left out if there are none.

    Raises:
        ValueError: no config was trained on all of the cells.
    """
    whole = [number for number, each in results.items() if all(cell in each for cell in cells)]
    if not whole:
        raise ValueError(f"no config was trained on all of {list(cells)}")
    deviation = training_deviation([results[number] for number in whole], cells)
    values = {number: _interval(*shares(_pooled(results[number], cells)), cells, deviation**2) for number in whole}
    leader = max(whole, key=lambda number: values[number].value)
    differences, compared = {}, {}
    for number, each in results.items():
        common = [cell for cell in cells if cell in each]
        if number != leader and common:
            differences[number] = difference(each, results[leader], common, deviation)
            compared[number] = len(_pooled(each, common))
    alike = [number for number, found in differences.items() if found.high >= 0]
    alike.sort(key=lambda number: -differences[number].value)
    photos = len(_pooled(results[leader], cells))
    return Standing(tuple(cells), leader, (leader, *alike), values, differences, compared, photos)


def difference(
    first: Mapping[Cell, Tallies], second: Mapping[Cell, Tallies], cells: Sequence[Cell], deviation: float
) -> Interval:
    """Return the 95% interval of the first's val_miou less the second's, over some cells of both.

    Args:
        first: trainings of a config.
        second: trainings of another.
        cells: that both have.
        deviation: between trainings of one config, see `training_deviation`.
    """
    (one, mine), (other, yours) = (shares(_pooled(each, cells)) for each in (first, second))
    return _interval(one - other, mine - yours, cells, 2 * deviation**2)


def _interval(value: float, by_photo: NDArray[np.float64], cells: Sequence[Cell], variance: float) -> Interval:
    """Return the interval of what photos add up to, where each training adds a variance of its own."""
    folds = [fold for fold, _ in cells]
    trainings = variance * sum(1 / folds.count(fold) for fold in set(folds)) / len(set(folds)) ** 2
    half = NORMAL_95 * float(np.sqrt((by_photo**2).sum() + trainings))
    return Interval(value, value - half, value + half)


def training_deviation(results: Sequence[Mapping[Cell, Tallies]], cells: Sequence[Cell]) -> float:
    """Return the standard deviation of val_miou between trainings of one config that differ by their seed.

    Args:
        results: of configs that were trained on all of the cells.
        cells: folds and seeds.
    """
    squares, freedom = SEED_WEIGHT * SEED_SD**2, SEED_WEIGHT
    folds = sorted({fold for fold, _ in cells})
    for fold in folds:
        repeats = [cell for cell in cells if cell[0] == fold]
        if len(repeats) > 1:
            values = np.array([[shares(each[cell])[0] for cell in repeats] for each in results])
            squares += float(((values - values.mean(1, keepdims=True)) ** 2).sum())
            freedom += len(results) * (len(repeats) - 1)
    if len(results) > 1 and len(folds) > 1:
        first = [next(cell for cell in cells if cell[0] == fold) for fold in folds]
        found = [[shares(each[cell]) for each in results] for cell in first]
        values = np.array([[value for value, _ in column] for column in found])  # (folds, configs)
        left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        more = (len(results) - 1) * (len(folds) - 1)
        by_photo = (np.stack([each for _, each in column]) for column in found)
        photos = np.mean([((each - each.mean(0)) ** 2).sum() for each in by_photo]) / (len(results) - 1)
        squares += max(float((left**2).sum() - more * photos), 0.0)
        freedom += more
    return float((squares / freedom) ** 0.5)


def _pooled(trainings: Mapping[Cell, Tallies], cells: Sequence[Cell]) -> Tallies:
    """Return the tallies of all photos, of each the mean over the seeds of its fold."""
    folds = sorted({fold for fold, _ in cells})
    return np.concatenate([np.mean([trainings[cell] for cell in cells if cell[0] == fold], axis=0) for fold in folds])
