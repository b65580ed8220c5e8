"""What to expect of a model or an ensemble on photos that nothing has seen, with all that was chosen counted.

An out-of-fold mIoU flatters: of each training the best epoch was kept, of all trials the best, both by the photos it is
scored on. Three things are taken off or added here:

- **The epoch.** The best epoch stands out over its neighbours, and of that three quarters are luck: recorded trainings
  whose every epoch was scored on a test part gain a quarter of it there (docs/budgets.md).
- **The trial.** How far the best of K trials stands out by luck is found by drawing the photos and the seeds' noise
  anew, around values that are drawn together first by as much as that noise has spread them (the parametric bootstrap
  of a maximum; the shrinkage is James and Stein's).
- **The photos.** Those it is scored on and those to come are both few: the interval holds the mIoU on so many unseen
  photos, not that on all there could be, and the noise between trainings.

N photos, C classes, B draws.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.metric.bootstrap import Tallies, resamples, sums_to_mious, value_draws
from trainable.metric.noise import SEED_SD
from trainable.metric.paired_comparison import miou

LUCK = 0.75
"""Of what the best epoch stands out by, the share that other photos do not show."""

NEIGHBOURS = 0.05
"""Share of the epochs on either side that an epoch is compared with, one at least."""

HELD = 0.9
"""Share of cases that the interval holds."""

DRAWS = 2000


@dataclass(frozen=True)
class Expectation:
    """The mIoU to expect on unseen photos, with the interval that holds it in 90% of cases."""

    value: float
    low: float
    high: float
    photos: int  # unseen ones
    measured: float  # out of fold, with all that was chosen
    epochs: float  # of it by the choice of the epochs
    trial: float  # of it by the choice of the trial

    def describe(self) -> str:
        """Return it in a sentence."""
        named = (("best epochs", self.epochs), ("best trial", self.trial))
        chosen = ", ".join(f"{name} {-value:+.3f}" for name, value in named if value)
        less = f"; out of fold {self.measured:.3f}" + (f", less what was chosen: {chosen}" if chosen else "")
        held = f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {HELD:.0%})"
        return f"expected on {self.photos} unseen photos: mIoU {held}{less}"

    def record(self) -> dict[str, Any]:
        """Return it as json holds it."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


def expect(
    found: Tallies, unseen: int, epochs: float = 0.0, trial: float = 0.0, models: int = 1, seed: int = 0
) -> Expectation:
    """Return what to expect of what has some out-of-fold tallies.

    Args:
        found: of the photos it was scored on, (N, 2C).
        unseen: photos to come.
        epochs: what the choice of epochs flatters by, see `epoch_luck`.
        trial: what the choice of the trial flatters by, see `trial_luck`.
        models: that vote: the noise between trainings is that of their mean.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sums = resamples(len(found), seed, DRAWS) @ found
    scored = value_draws(found, sums, seed)
    shares = rng.multinomial(unseen, np.full(len(found), 1 / len(found)), size=DRAWS).astype(np.float64)
    to_come = sums_to_mious(shares @ found)
    noise = rng.normal(scale=SEED_SD / math.sqrt(models), size=DRAWS)
    spread = (scored - scored.mean()) + (to_come - to_come.mean()) + noise
    measured = miou(found)
    value = measured - epochs - trial
    low, high = np.quantile(spread, ((1 - HELD) / 2, (1 + HELD) / 2))
    return Expectation(
        value, max(value + float(low), 0.0), min(value + float(high), 1.0), unseen, measured, epochs, trial
    )


def epoch_luck(curve: Sequence[float]) -> float:
    """Return by how much the best epoch of a curve flatters, from how far it stands out over its neighbours."""
    values = np.asarray(curve, np.float64)
    return LUCK * stands_out(values, values) if len(values) > 1 else 0.0


def stands_out(chosen_by: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return how far values stand out over their neighbours at the epoch that is best by others, two epochs or more."""
    best, side = int(chosen_by.argmax()), max(1, round(NEIGHBOURS * len(chosen_by)))
    around = np.delete(values[max(best - side, 0) : best + side + 1], min(best, side))
    return float(values[best] - around.mean())


def trial_luck(rivals: Sequence[Tallies], seed: int = 0) -> float:
    """Return by how much the best of some trials flatters, by their tallies of the same photos.

    Args:
        rivals: (N, 2C) of each, in the same order of photos.
        seed: of the draws.
    """
    if len(rivals) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    counts = resamples(len(rivals[0]), seed, DRAWS)
    values = np.array([miou(rival) for rival in rivals])
    drawn = np.array([sums_to_mious(counts @ rival) for rival in rivals])  # (K, B)
    # What all trials share of a draw decides nothing between them.
    apart = drawn - drawn.mean(0)
    noise = apart - apart.mean(1, keepdims=True) + rng.normal(scale=SEED_SD, size=drawn.shape)
    variance = float(noise.var(1).mean())
    spread = float(values.var(ddof=1))
    drawn_together = values.mean() + math.sqrt(max(1 - variance / spread, 0.0) if spread else 0.0) * (
        values - values.mean()
    )
    scores = drawn_together[:, None] + noise
    picked = scores.argmax(0)
    columns = np.arange(scores.shape[1])
    return max(float((scores[picked, columns] - drawn_together[picked]).mean()), 0.0)
