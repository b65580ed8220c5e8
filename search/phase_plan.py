"""How the hours are shared between a short search, longer and larger trainings, and members of an ensemble.

The rule is a measured one: docs/budgets.md has the figures and the commands they come from. On the same hours, larger
photos gain more than longer trainings, up to the photos' own size; beyond four times the epochs of the search nothing
is gained by length; and several models gain more than one that is trained on.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

SEARCH, PROMOTE, CONFIRM, ENSEMBLE, SUBMISSION, MODEL = (
    "search", "promote", "confirm", "ensemble", "submission", "model",
)  # fmt: skip
LABEL, EXTRA, EXTRA_FOLDS, TOGETHER = PSEUDO_LABELS = ("label", "extra", "extra-folds", "together")
ORDER = (SEARCH, PROMOTE, CONFIRM, ENSEMBLE, SUBMISSION, MODEL)

SHARES = {SEARCH: 0.2, PROMOTE: 0.6, CONFIRM: 0.1, EXTRA: 0.2, EXTRA_FOLDS: 0.1}
"""Of the budget, as far as these phases are asked for: they share what the rest leaves in these proportions."""

REST = 0.1
"""Of the budget: for the ensemble and what follows from it. What a phase leaves over goes to those after it."""

LONGER = (1, 2, 4)
"""Times the search's epochs that a promoted config may train."""

TOP = (2, 3, 4, 6)
"""Configs that may be promoted."""

STEP = 32
"""Pixels between two image sizes to choose from: every network takes multiples of it."""

LARGEST = 512
"""Pixels: photos are not enlarged beyond the competition's size."""

GAIN_SIZE, GAIN_EPOCHS, GAIN_MEMBERS = 0.06, 0.011, 0.008
"""val_miou for each doubling of the image's side, of the epochs and of the members."""

OVERHEAD = 1.15
"""Wall seconds of a phase for each second of its training and validating, shared between workers."""


@dataclass(frozen=True)
class Longer:
    """What the promoted configs train."""

    top: int  # configs
    epochs: int
    size: int  # pixels per side
    seconds: float  # of wall time, if none is stopped early
    gain: float  # val_miou over what the search's best has, as measured elsewhere

    def told(self) -> str:
        """Return it in words."""
        return f"the best {self.top} configs, {self.epochs} epochs at {self.size} px"


def choose_longer(
    epoch_s: Sequence[tuple[float, int]], epochs: int, base: int, native: int, workers: int, seconds: float
) -> Longer:
    """Return how many of the best configs to promote, to how many epochs, at which size.

    Args:
        epoch_s: seconds of an epoch and image size of each config that could be promoted, the best first.
        epochs: of a trial of the search.
        base: image size of the search, pixels.
        native: side of the photos, pixels.
        workers: trainings at a time.
        seconds: of wall time that there are.
    """
    largest = max(min(native, LARGEST) // STEP * STEP, base)
    sizes = [base, *range((base // STEP + 1) * STEP, largest + 1, STEP)]
    tops = [top for top in TOP if top <= len(epoch_s)] or [len(epoch_s)]
    found = []
    for top, longer, size in itertools.product(tops, LONGER, sizes):
        each = [longer * epochs * second * (size / own) ** 2 for second, own in epoch_s[:top]]
        wall = OVERHEAD * makespan(each, workers)
        gain = GAIN_SIZE * math.log2(size / base) + GAIN_EPOCHS * math.log2(longer) + GAIN_MEMBERS * math.log2(top)
        found.append(Longer(top, longer * epochs, size, wall, gain))
    fitting = [each for each in found if each.seconds <= seconds]
    return (
        max(fitting, key=lambda each: (each.gain, -each.seconds))
        if fitting
        else min(found, key=lambda each: each.seconds)
    )


@dataclass(frozen=True)
class Further:
    """What is trained on further folds."""

    top: int  # configs, 0 for none
    folds: int  # of each, the promoted run's own included
    seconds: float  # of wall time
    gain: float

    def told(self) -> str:
        """Return it in words."""
        return f"the best {self.top} on {self.folds} folds" if self.top else "no further fold is paid for"


def choose_further(training_s: Sequence[float], folds: int, workers: int, seconds: float) -> Further:
    """Return how many of the best promoted configs train on how many folds.

    Args:
        training_s: seconds of a whole training of each, the best first.
        folds: that the photos are dealt into.
        workers: trainings at a time.
        seconds: of wall time that there are.
    """
    found = [Further(0, 1, 0.0, 0.0)]
    for top, count in itertools.product(range(1, min(len(training_s), 3) + 1), range(2, folds + 1)):
        if top == 1 and count < folds:
            continue  # an ensemble compares members on the folds that they share: one alone needs all
        wall = OVERHEAD * makespan([each for each in training_s[:top] for _ in range(count - 1)], workers)
        found.append(Further(top, count, wall, GAIN_MEMBERS * math.log2(top * count)))
    return max((each for each in found if each.seconds <= max(seconds, 0)), key=lambda each: (each.gain, -each.seconds))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Return the wall time of some trainings, the longest first, each by the next worker that is free."""
    busy = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += each
    return max(busy)


def phases_to(last: str, pseudo_labels: bool = False) -> tuple[str, ...]:
    """Return the phases up to one, with or without a round of pseudo labels after the first ensemble."""
    wanted = ORDER[: ORDER.index(last) + 1]
    if not pseudo_labels or ENSEMBLE not in wanted:
        return wanted
    after = wanted.index(ENSEMBLE) + 1
    return (*wanted[:after], *PSEUDO_LABELS, *wanted[after:])


def shares_left(to_come: Sequence[str], seconds: float) -> dict[str, float]:
    """Return the seconds of each of the phases to come that has a share, where so many are left for all of them."""
    weights = {name: SHARES[name] for name in to_come if name in SHARES}
    whole = sum(weights.values()) + REST
    return {name: seconds * weight / whole for name, weight in {**weights, ENSEMBLE: REST}.items()}
