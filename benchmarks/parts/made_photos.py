"""Photos with rare classes and models of them, made up as far as val_miou goes: hits and unions of classes by photo.

N photos, C classes; the first class is the background, which all photos have.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainable.metric.bootstrap import Tallies

PRESENT = (1, 0.57, 0.53, 0.41, 0.33, 0.16, 0.12, 0.094, 0.058, 0.035, 0.0058)
"""Share of photos that a class is in: of the competition's 3,272 training photos, the most frequent first."""

COMMON = (1, 0.6, 0.6, 0.5, 0.5, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3)
"""The same without rare classes."""

EASE = (3.5, 0.2, 1.2, 0.5, 0.7, 1.0, 1.2, 0.4, 1.8, -0.3, 0.3)
"""Logit of the share of a class's pixels that is found, in a middling photo."""

PIXELS = 256 * 256

POPULATION = 100_000
"""Photos that stand for very many."""


@dataclass(frozen=True)
class Photos:
    """Some photos, the same for all models."""

    area: NDArray[np.float64]  # pixels of each class, (N, C)
    ease: NDArray[np.float64]  # of each class in each photo, a logit, (N, C)
    taken_for: NDArray[np.int64]  # the class that a part of what is missed becomes, (N,)

    def part(self, chosen: slice) -> "Photos":
        """Return some of them."""
        return Photos(self.area[chosen], self.ease[chosen], self.taken_for[chosen])


@dataclass(frozen=True)
class World:
    """What photos and models are like."""

    present: tuple[float, ...] = PRESENT
    skill: float = 0.0  # of all models, a logit: 0 gives a val_miou of 0.46, -1.5 one of 0.22
    apart: float = 0.35  # standard deviation, a logit, of what a config makes of a class in a photo; and its trainings
    noise: float = 0.015  # standard deviation between seeds of val_miou on very many photos
    slopes: NDArray[np.float64] = field(init=False)  # of val_miou by each class's logit, (C,)
    ious: NDArray[np.float64] = field(init=False)  # of each class on very many photos, (C,)

    def __post_init__(self) -> None:
        photos = self.photos(np.random.default_rng(0), POPULATION)

        def ious(some: Photos, shift: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
            tallies = self.tallies(np.random.default_rng(1), some, 2**0.5 * self.apart, shift).sum(0)
            return np.divide(*np.split(tallies, 2))

        object.__setattr__(self, "ious", ious(photos))
        some, steps = photos.part(slice(POPULATION // 10)), 0.2 * np.eye(len(self.present))
        slopes = [ious(some, step).mean() - ious(some, -step).mean() for step in steps]
        object.__setattr__(self, "slopes", np.array(slopes) / 0.4)

    def truth(self, found: Tallies) -> float:
        """Return val_miou on very many photos, over the classes that some photos' tallies (N, 2C) have."""
        return float(self.ious[found[:, len(self.present) :].any(0)].mean())

    def photos(self, rng: np.random.Generator, count: int) -> Photos:
        """Draw photos: which classes they show, how large, how hard they are."""
        classes = len(self.present)
        area = (rng.random((count, classes)) < self.present) * rng.lognormal(-3.5, 1.5, (count, classes))
        area[:, 0] = 0
        area *= 0.9 / np.maximum(area.sum(1, keepdims=True), 0.9)  # at most 90% of a photo
        area[:, 0] = 1 - area.sum(1)
        ease = rng.normal(0, 0.8, (count, 1)) + rng.normal(0, 1.2, (count, classes))
        return Photos(np.round(area * PIXELS), ease, self._mistaken(rng, area > 0))

    def tallies(
        self,
        rng: np.random.Generator,
        photos: Photos,
        apart: float,
        shift: NDArray[np.float64] | float = 0.0,
        known: NDArray[np.float64] | float = 0.0,
    ) -> Tallies:
        """Return what a model makes of photos, (N, 2C).

        Args:
            rng: of what is the model's own.
            photos: all of them.
            apart: standard deviation of what it makes of a class in a photo, a logit.
            shift: of its skill at each class, a logit.
            known: what else its config makes of each class in each photo, a logit, (N, C).
        """
        count, classes = photos.area.shape
        logits = np.array(EASE[:classes]) + self.skill + photos.ease + known + rng.normal(0, apart, (count, classes))
        hits = photos.area / (1 + np.exp(-logits - shift))
        missed, unions = photos.area - hits, photos.area.copy()
        unions[:, 0] += 0.6 * missed[:, 1:].sum(1)  # of objects; the rest is taken for another class
        own = rng.random(count) < 0.2
        taken_for = np.where(own, self._mistaken(rng, photos.area > 0), photos.taken_for)
        unions[np.arange(count), taken_for] += 0.4 * missed[:, 1:].sum(1) + missed[:, 0]
        return np.concatenate([hits, unions], axis=1)

    def shift(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw what a seed makes of a training, (C,): half of the noise is common to all classes, half each one's."""
        common = rng.normal() / self.slopes.sum()
        by_class = rng.normal(size=len(self.slopes)) / np.sqrt((self.slopes**2).sum())
        return np.asarray(self.noise * 0.5**0.5 * (common + by_class))

    def _mistaken(self, rng: np.random.Generator, present: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Draw the class that each photo's missed pixels are taken for: mostly one that is there, (N,)."""
        odds = np.array(self.present[1:]) + 0.02
        other = rng.choice(np.arange(1, len(self.present)), len(present), p=odds / odds.sum())
        among = present[:, 1:] * rng.random((len(present), len(self.present) - 1))
        return np.where(present[:, 1:].any(1) & (rng.random(len(present)) < 0.7), 1 + among.argmax(1), other)
