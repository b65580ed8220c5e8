"""The race between finalists: fold after fold, then seed after seed, what is shown to be worse is trained no more.

A rung is a fold with a seed. When all that are in the race have been trained on a rung, they are compared over all
rungs so far (`trainable/metric/paired_comparison.py` has the rule). What is next follows from the trainings that have
ended, in whatever order they did: a race that was interrupted goes on as one that was not. A worker that would be idle
until a rung is whole begins with the next one.
"""

from collections.abc import Callable, Collection, Sequence

from trainable.metric.bootstrap import Tallies
from trainable.metric.noise import Cell, Draws
from trainable.metric.paired_comparison import Standing, standings

Task = tuple[int, Cell]
"""A config by its number, and what it is to be trained on."""


class Race:
    """What finalists have been trained on, and what is next."""

    def __init__(self, numbers: Sequence[int], rungs: Sequence[Cell], drop: bool = True):
        """Begin with no training.

        Args:
            numbers: of the finalists, the most promising first.
            rungs: in the order in which they are trained, see `rungs_of`.
            drop: whether those that are shown to be worse are out; otherwise all go through all rungs.
        """
        self.rungs, self.drop = list(rungs), drop
        self.results: dict[int, dict[Cell, Tallies]] = {number: {} for number in numbers}
        self.standings: list[Standing] = []
        """After each rung that is whole."""
        self.fits: Callable[[Sequence[Task]], bool] = lambda tasks: True
        """Tells whether some trainings, all begun now, can still come to their end."""
        self.limited = False
        """Whether something was not begun because it would not."""
        self.tell: Callable[[int, Standing], None] = lambda number, standing: None
        """Told of each config that is out, and how it stood then."""
        self._told: set[tuple[int, int]] = set()  # number, and after how many rungs
        self._drawn: dict[Task, Draws] = {}

    def observe(self, number: int, cell: Cell, found: Tallies) -> None:
        """A training has ended."""
        self.results[number][cell] = found
        self._stand()

    def withdraw(self, number: int) -> None:
        """A config has broken: it takes part no more."""
        self.results.pop(number, None)
        self._stand()

    def left(self) -> list[Task]:
        """Return what is to be trained if none is out any more, in order."""
        racing = list(self.standings[-1].alike) if self.standings and self.drop else list(self.results)
        # Every fold of a winner is needed for its predictions; further seeds only tell configs apart.
        return [
            (number, cell)
            for cell in self.rungs
            if not cell[1] or len(racing) > 1 or not self.drop
            for number in racing
            if cell not in self.results[number]
        ]

    def next(self, running: Collection[Task] = ()) -> Task | None:
        """Return what to train next, None if there is nothing, or nothing that would come to its end."""
        waiting = [task for task in self.left() if task not in running]
        if not waiting:
            return None
        first = waiting[0]
        # A fold is worth having for itself, of a further seed only a whole rung decides anything.
        together = [task for task in waiting if task[1] == first[1]] if first[1][1] else [first]
        if self.fits(together):
            return first
        self.limited = True
        return None

    def _stand(self) -> None:
        self.standings = standings(self.results, self.rungs, self.drop, self._drawn)
        racing = set(self.results)
        for depth, standing in enumerate(self.standings if self.drop else [], start=1):
            for number in sorted(racing - set(standing.alike)):
                if (number, depth) not in self._told:
                    self._told.add((number, depth))
                    self.tell(number, standing)
            racing = set(standing.alike)


def rungs_of(folds: Sequence[int], own: int, seeds: int) -> list[Cell]:
    """Return the rungs of a race: all folds with the first seed, then with the next.

    Args:
        folds: to train on.
        own: the fold of the search, which comes last: its trainings are what chose the finalists.
        seeds: on each fold.
    """
    return [(fold, seed) for seed in range(seeds) for fold in sorted(folds, key=lambda fold: (fold == own, fold))]
