"""How the hours are shared between a short search, longer and larger trainings, and members of an ensemble.

The rule is a measured one: docs/budgets.md has the figures and the commands they come from. On the same hours, larger
photos gain more than longer trainings, up to the photos' own size; beyond four times the epochs of the search nothing
is gained by length; and several models gain more than one that is trained on.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.settings.phase_names import CONFIRM, ENSEMBLE, EXTRA, EXTRA_FOLDS, MODEL, PROMOTE, SEARCH
from trainable.counts import counted

SHARES = {SEARCH: 0.2, PROMOTE: 0.6, CONFIRM: 0.1, EXTRA: 0.2, EXTRA_FOLDS: 0.1, MODEL: 0.1}
"""In these proportions the phases that are asked for share the budget, less the rest; so they share what one of them
leaves over."""

REST = 0.05
"""Of the whole budget: for the ensemble and the submission, which took 2% of half an hour with two members."""

LEAST_SEARCH_S = 180.0
"""Wall seconds that the search gets at the least, up to half of all: to check the models, start Ray and load the
networks takes a minute or two, in which nothing is trained."""

UNLIMITED = 1e9
"""Seconds of a budget that is not known in seconds yet: its shares are told as parts of this."""

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

MOST_VARIANTS = 2
"""Of each promoted config, with the knobs moved whose best value depends on the budget: what hours buy once there are
the most configs, epochs and pixels."""

MOST_CONFIRMED = 3
"""Of the promoted configs train on further folds."""

MOST_SKIPPED = 8
"""Of the best configs may be left out for ones that cost less."""

REFERENCE_PLACE = 2
"""Of those that are promoted: the reference recipe is the third at the latest, so that it is there where three fit."""

FIXED_SIDE = 60
"""Pixels: an epoch costs as if each photo had a square of this side more, whatever its own size. From 64 to 224 px an
epoch of three networks takes 3.3 to 4.7 times as long at 224 as at 96 px (the square of the sides: 5.4)."""

START_S, OVERHEAD = 60.0, 1.05
"""Wall seconds until a phase's first training begins, and for each second of its training and validating."""


@dataclass(frozen=True)
class Candidate:
    """A config that could be promoted."""

    number: int  # of its trial
    end: float  # val_miou that it is to end with in the search
    epoch_s: float  # seconds of an epoch there
    size: int  # pixels per side there


@dataclass(frozen=True)
class Longer:
    """What the promoted configs train."""

    numbers: tuple[int, ...]  # of the trials
    epochs: int
    size: int  # pixels per side
    seconds: float  # of wall time, if none is stopped early
    value: float  # val_miou that the best of them is to come to, by what such steps have gained elsewhere
    variants: int = 0  # of these configs, beside them

    def describe(self) -> str:
        """Return it in words."""
        variants = f" and {counted(self.variants, 'variant')} of them" if self.variants else ""
        return f"{counted(len(self.numbers), 'config')}{variants}, {self.epochs} epochs at {self.size} px"


def choose_longer(
    candidates: Sequence[Candidate],
    epochs: int,
    base: int,
    native: int,
    workers: int,
    seconds: float,
    reference: int | None = None,
) -> Longer:
    """Return which configs to promote, to how many epochs, at which size.

    Of all epochs and sizes the best configs that fit are taken: a cheap one that can train on larger photos, or longer,
    may be worth more than one that is ahead of it. The reference recipe is the third at the latest, if it fits.

    Args:
        candidates: at least one.
        epochs: of a trial of the search.
        base: image size of the search, pixels.
        native: side of the photos, pixels.
        workers: trainings at a time.
        seconds: of wall time that there are.
        reference: trial of the reference recipe.
    """
    largest = max(min(native, LARGEST) // STEP * STEP, base)
    sizes = [base, *range((base // STEP + 1) * STEP, largest + 1, STEP)]
    # At one size: what came so far on smaller photos comes further on these.
    ranked = sorted(
        candidates, key=lambda candidate: (GAIN_SIZE * math.log2(candidate.size) - candidate.end, candidate.number)
    )
    choices = []
    for top, longer, size, first in itertools.product(TOP, LONGER, sizes, range(min(len(ranked), MOST_SKIPPED))):
        chosen = _fitting(ranked[first:], top, longer * epochs, size, workers, seconds, reference)
        if len(chosen) == min(top, len(ranked)):
            best = max(candidate.end + GAIN_SIZE * math.log2(size / candidate.size) for candidate in chosen)
            value = best + GAIN_EPOCHS * math.log2(longer) + GAIN_MEMBERS * math.log2(len(chosen))
            took = _wall(chosen, longer * epochs, size, workers)
            choices.append(Longer(tuple(candidate.number for candidate in chosen), longer * epochs, size, took, value))
    if choices:
        promoted = max(choices, key=lambda choice: (choice.value, -choice.seconds))
        most = min(TOP[-1], len(ranked)), LONGER[-1] * epochs, sizes[-1]
        if (len(promoted.numbers), promoted.epochs, promoted.size) != most:
            return promoted
        chosen = [next(candidate for candidate in ranked if candidate.number == number) for number in promoted.numbers]
        return _varied(promoted, chosen, workers, seconds)
    by_cost = sorted(candidates, key=lambda candidate: (_wall([candidate], epochs, base, workers), candidate.number))
    least = by_cost[: min(workers, TOP[0])]  # the second takes no longer than its own training beside the first
    best = max(candidate.end for candidate in least)
    numbers = tuple(candidate.number for candidate in least)
    return Longer(numbers, epochs, base, _wall(least, epochs, base, workers), best)


def _varied(longer: Longer, chosen: Sequence[Candidate], workers: int, seconds: float) -> Longer:
    """Add as many variants, of the configs in turn, as what is left of the seconds pays, MOST_VARIANTS of each."""
    varied = longer
    for count in range(1, MOST_VARIANTS * len(chosen) + 1):
        trained = [*chosen, *(chosen[position % len(chosen)] for position in range(count))]
        took = _wall(trained, longer.epochs, longer.size, workers)
        if took > seconds:
            break
        varied = replace(longer, variants=count, seconds=took)
    return varied


def most_gained(base: int | None) -> dict[str, float]:
    """Return the val_miou that each phase gains at most, by what such steps have gained elsewhere.

    Args:
        base: image size of the search, pixels; None where it is not known: then nothing counts for larger photos.
    """
    larger = GAIN_SIZE * math.log2(max(LARGEST / base, 1)) if base else 0.0
    return {
        PROMOTE: larger + GAIN_EPOCHS * math.log2(LONGER[-1]) + GAIN_MEMBERS * math.log2(TOP[-1]),
        CONFIRM: GAIN_MEMBERS * math.log2(MOST_CONFIRMED * 2),
    }


def _fitting(
    ranked: Sequence[Candidate], top: int, epochs: int, size: int, workers: int, seconds: float, reference: int | None
) -> list[Candidate]:
    """Return the best configs whose trainings fit together, `top` at most."""
    chosen: list[Candidate] = []
    recipe = [candidate for candidate in ranked if candidate.number == reference] if top > REFERENCE_PLACE else []
    others = [candidate for candidate in ranked if candidate not in recipe]
    for candidate in [*others[:REFERENCE_PLACE], *recipe, *others[REFERENCE_PLACE:]]:
        if len(chosen) < top and _wall([*chosen, candidate], epochs, size, workers) <= seconds:
            chosen.append(candidate)
    return chosen


def _wall(chosen: Sequence[Candidate], epochs: int, size: int, workers: int) -> float:
    return wall([epochs * candidate.epoch_s * area(size) / area(candidate.size) for candidate in chosen], workers)


@dataclass(frozen=True)
class Further:
    """What is trained on further folds."""

    top: int  # configs, 0 for none
    folds: int  # of each, the promoted run's own included
    seconds: float  # of wall time
    gain: float

    def describe(self) -> str:
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
    choices = [Further(0, 1, 0.0, 0.0)]
    for top, count in itertools.product(range(1, min(len(training_s), MOST_CONFIRMED) + 1), range(2, folds + 1)):
        if top == 1 and count < folds:
            continue  # an ensemble compares members on the folds that they share: one alone needs all
        took = wall([duration for duration in training_s[:top] for _ in range(count - 1)], workers)
        choices.append(Further(top, count, took, GAIN_MEMBERS * math.log2(top * count)))
    return max(
        (choice for choice in choices if choice.seconds <= max(seconds, 0)),
        key=lambda choice: (choice.gain, -choice.seconds),
    )


def area(size: int) -> int:
    """Return what an epoch costs by the image size, in pixels of each photo."""
    return size**2 + FIXED_SIDE**2


def wall(seconds: Sequence[float], workers: int) -> float:
    """Return the wall time of a phase with some trainings."""
    return START_S + OVERHEAD * makespan(seconds, workers)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Return the wall time of some trainings, the longest first, each by the next worker that is free."""
    busy = [0.0] * workers
    for duration in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += duration
    return max(busy)


def shares_left(to_come: Sequence[str], seconds: float, budget: float) -> dict[str, float]:
    """Return the seconds of each of the phases to come that has a share, and of the ensemble with the submission.

    Args:
        to_come: names of the phases.
        seconds: that are left for all of them.
        budget: that there were at first.
    """
    weights = {name: SHARES[name] for name in to_come if name in SHARES}
    if not weights:
        return {ENSEMBLE: seconds}
    rest = min(REST * budget, seconds / 2)
    whole, shared = sum(weights.values()), seconds - rest
    shares = {name: shared * weight / whole for name, weight in weights.items()}
    if SEARCH in shares and len(shares) > 1:
        search = max(shares[SEARCH], min(LEAST_SEARCH_S, shared / 2))
        others = (shared - search) / (shared - shares[SEARCH]) if shared > shares[SEARCH] else 0.0
        shares = {name: search if name == SEARCH else share * others for name, share in shares.items()}
    return {**shares, ENSEMBLE: rest}
