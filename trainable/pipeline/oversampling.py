"""Which training photos an epoch shows: every photo once, or some of the draws for rare classes.

An epoch has as many draws as the fold has training photos, whatever the oversampling: all trials' epochs cost alike,
and ASHA compares like with like. `ratio` is the number of rare draws for each ordinary one, so the rare ones have
ratio / (1 + ratio) of the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.builders import build
from trainable.config import Choice
from trainable.dataset.cache import Cache
from trainable.pipeline.object_patches import Patch, find_patches, rarest_classes, within

BACKGROUNDS = ("any", "plain")
PLAIN = 0.7
"""Share of background pixels from which a photo is a plain background."""


@dataclass(frozen=True, eq=False)
class Draws:
    """How an epoch draws from the training photos."""

    positions: NDArray[np.int64]  # (N,) of the training photos in the cache
    ratio: float = 0.0  # rare draws for each ordinary one
    weights: NDArray[np.float64] | None = None  # (N,) chances of a rare draw, with sum 1
    patches: tuple[Patch, ...] = ()  # one is pasted on each rare draw

    def epoch(self, rng: np.random.Generator) -> list[tuple[int, bool]]:
        """Return the positions of one epoch in their order, and on which a patch is pasted."""
        count = len(self.positions)
        rare = round(count * self.ratio / (1 + self.ratio)) if self.weights is not None else 0
        ordinary = rng.permutation(self.positions)[: count - rare]
        drawn = [(int(position), False) for position in ordinary]
        if rare:
            rare_positions = rng.choice(self.positions, rare, p=self.weights)
            drawn += [(int(position), bool(self.patches)) for position in rare_positions]
            rng.shuffle(drawn)
        return drawn

    def patch(self, rng: np.random.Generator) -> Patch:
        """Return a patch to paste, each class alike."""
        classes = sorted({patch.class_index for patch in self.patches})
        chosen = classes[rng.integers(len(classes))]
        of_class = [patch for patch in self.patches if patch.class_index == chosen]
        return of_class[rng.integers(len(of_class))]


def build_draws(choice: Choice, cache: Cache, positions: NDArray[np.int64]) -> Draws:
    """Return the draws that `choice` names, from the training photos at `positions` alone.

    Raises:
        ValueError: an unknown kind or parameter, a value out of range, or a paste without patches of the asked area.
    """
    return build("oversampling", choice, OVERSAMPLING, cache=cache, positions=positions)


def none(positions: NDArray[np.int64]) -> Draws:
    """Every training photo once."""
    return Draws(positions)


def repeat_factor(cache: Cache, positions: NDArray[np.int64], ratio: float = 0.5, threshold: float = 0.2) -> Draws:
    """Rare draws by a photo's repeat factor: the largest sqrt(threshold / frequency) of its classes, less 1.

    Args:
        cache: the photos.
        positions: of the training photos.
        ratio: rare draws for each ordinary one.
        threshold: classes on a smaller share of the photos are rare. None that rare leaves the draws ordinary.

    Source: Gupta et al. 2019 (LVIS), where the epoch grows instead.
    """
    _check_ratio(ratio)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a share of the photos, above 0 and at most 1, found {threshold:g}")
    has = _classes(cache, positions)
    frequency = has.mean(0)
    with np.errstate(divide="ignore"):
        repeats = np.maximum(np.sqrt(threshold / frequency), 1)
    extra = np.where(has, repeats, 1).max(1, initial=1) - 1
    return Draws(positions, ratio, extra / extra.sum()) if extra.any() else Draws(positions)


def class_balanced(cache: Cache, positions: NDArray[np.int64], ratio: float = 0.5) -> Draws:
    """Rare draws by class: each class alike, then each photo that has it. Source: Shen et al. 2016."""
    _check_ratio(ratio)
    has = _classes(cache, positions)
    has = has[:, has.any(0)]
    if not has.size:
        return Draws(positions)
    weights = (has / has.sum(0)).sum(1)
    return Draws(positions, ratio, weights / weights.sum())


def paste(
    cache: Cache,
    positions: NDArray[np.int64],
    ratio: float = 0.5,
    rare: int = 3,
    min_area: float = 0.001,
    max_area: float = 0.2,
    backgrounds: str = "any",
) -> Draws:
    """Rare draws that get a patch of a rare class pasted on, each class alike.

    Args:
        cache: the photos.
        positions: of the training photos: patches and backgrounds come from them alone.
        ratio: rare draws for each ordinary one.
        rare: how many classes count as rare, those on the fewest photos.
        min_area: smallest patch, as a share of its photo.
        max_area: largest.
        backgrounds: `any` photo, or `plain` ones, which are mostly background.
    """
    _check_ratio(ratio)
    if rare < 1:
        raise ValueError(f"rare must be at least 1 class, found {rare}")
    if backgrounds not in BACKGROUNDS:
        raise ValueError(f"backgrounds must be one of {', '.join(BACKGROUNDS)}, found {backgrounds!r}")
    patches = within(find_patches(cache, positions, rarest_classes(cache, positions, rare)), min_area, max_area)
    weights = np.ones(len(positions))
    if backgrounds == "plain":
        if not cache.classes.background:
            raise ValueError("these data have no background class to paste on; take backgrounds any")
        pixels = np.asarray(cache.class_pixels)[positions]
        weights = (pixels[:, 0] >= PLAIN * np.asarray(cache.photo_pixels)[positions]).astype(float)
        if not weights.any():
            raise ValueError(f"no training photo is {PLAIN:.0%} background to paste on; take backgrounds any")
    return Draws(positions, ratio, weights / weights.sum(), patches)


OVERSAMPLING: dict[str, Callable[..., Draws]] = {
    "none": none,
    "repeat_factor": repeat_factor,
    "class_balanced": class_balanced,
    "paste": paste,
}


def _classes(cache: Cache, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which photos have which class but background, (N, C - 1), or (N, C) where none is background."""
    return np.asarray(cache.class_pixels)[positions][:, cache.classes.objects] > 0


def _check_ratio(ratio: float) -> None:
    if not 0 <= ratio <= 10:
        raise ValueError(f"ratio is rare draws for each ordinary one, 0 to 10, found {ratio:g}")
