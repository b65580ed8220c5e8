"""Which views of a photo to predict: those that gain most for their cost, on out-of-fold predictions.

V views, N photos, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.labelled import Labelled
from analysis.members import Member
from analysis.nested import nested_confusions
from analysis.samples import FoldMaps, Samples, draw_samples
from analysis.selection import sampled_miou
from analysis.views import PLAIN, VIEWS
from trainable.bootstrap import Interval, difference_interval, mean_ious
from trainable.classes import CLASSES
from trainable.config import TrialConfig
from trainable.models import check_model

LEAST_GAIN = 0.001
"""mIoU that a view must add for each pass over a photo that it costs."""


@dataclass(frozen=True)
class Augmentation:
    """The views that were chosen."""

    views: tuple[str, ...]
    nested: dict[int, tuple[str, ...]]  # by part of the photos, chosen without it
    cost: float  # passes for each photo and model
    gain: Interval  # of mIoU on photos the views were not chosen on, paired
    reason: str


def choose_views(
    maps: Mapping[str, FoldMaps], labelled: Labelled, cost_of: Mapping[str, float], least_gain: float = LEAST_GAIN
) -> Augmentation:
    """Choose views greedily: the one with the largest gain per cost first, while it gains enough.

    The choice is scored as the weights are: each part of the photos with views chosen on the others. Without a gain
    there, the photo as it is remains the only view.

    Args:
        maps: the ensemble's out-of-fold maps of each view.
        labelled: the photos.
        cost_of: passes over a photo that each view costs.
        least_gain: mIoU for each pass.
    """
    names = list(maps)
    samples = draw_samples([maps[name] for name in names], labelled)
    costs = [cost_of[name] for name in names]
    parts = sorted(set(labelled.part.tolist()))
    nested = {part: _greedy(samples.of(labelled.part != part), costs, least_gain) for part in parts}
    chosen = _greedy(samples, costs, least_gain)
    plain = _share([names.index(PLAIN)], len(names))
    fits = {part: {"plain": plain, "views": _share(each, len(names))} for part, each in nested.items()}
    found = nested_confusions([maps[name] for name in names], labelled, fits)
    gain = difference_interval(found["views"], found["plain"])
    cost = sum(costs[index] for index in chosen)
    if gain.value <= 0 or chosen == [names.index(PLAIN)]:
        only: dict[int, tuple[str, ...]] = dict.fromkeys(parts, (PLAIN,))
        return Augmentation((PLAIN,), only, 1.0, gain, f"no views gain enough on photos left out ({gain:+})")
    by_part = {part: tuple(names[index] for index in each) for part, each in nested.items()}
    reason = f"gain {gain:+} for {cost:.1f} times the passes"
    return Augmentation(tuple(names[index] for index in chosen), by_part, cost, gain, reason)


def usable_views(names: Sequence[str], members: Sequence[Member]) -> tuple[dict[str, float], list[str]]:
    """Return the views that all members' networks can take, with their mean costs, and why others are left out.

    A scale at which no network sees another size than in an earlier view is left out too.
    """
    configs = [TrialConfig.from_dict(next(iter(each.models.values())).config()) for each in members]
    costs: dict[str, float] = {}
    seen: set[tuple[Any, ...]] = set()
    notes = []
    for name in dict.fromkeys((PLAIN, *names)):
        view = VIEWS[name]
        sizes = [view.size(config.image_size) for config in configs]
        look = (view.flipped, view.turns, *sizes)
        problem = next((text for text in map(_problem, configs, sizes) if text), None)
        if problem or look in seen:
            why = problem or "it is the same size as another view"
            notes.append(f"photos {name} are left out of the test-time augmentation: {why}")
            continue
        seen.add(look)
        costs[name] = sum(view.cost(config.image_size) for config in configs) / len(configs)
    return costs, notes


def _problem(config: TrialConfig, size: int) -> str | None:
    """Return why a network cannot take photos of a size other than it was trained at, or None."""
    if size == config.image_size:
        return None
    try:
        # Its own weights follow, so that those of its encoder need not be at hand.
        check_model(replace(config, image_size=size, encoder_weights="none"))
    except ValueError as error:
        return str(error)
    return None


def view_scores(maps: Mapping[str, FoldMaps], labelled: Labelled) -> dict[str, float]:
    """Return the out-of-fold mIoU of each view alone."""
    parts = sorted(set(labelled.part.tolist()))
    fits = {name: _share([index], len(maps)) for index, name in enumerate(maps)}
    found = nested_confusions(list(maps.values()), labelled, dict.fromkeys(parts, fits))
    return {name: float(mean_ious(matrices)[0]) for name, matrices in found.items()}


def _greedy(samples: Samples, costs: Sequence[float], least_gain: float) -> list[int]:
    """Return the chosen views' indices; the photo as it is, the first, is always among them."""
    chosen, score = [0], sampled_miou(samples, [0])
    while len(chosen) < len(costs):
        left = [index for index in range(len(costs)) if index not in chosen]
        gains = {index: sampled_miou(samples, [*chosen, index]) - score for index in left}
        best = max(left, key=lambda index: gains[index] / costs[index])
        if gains[best] < least_gain * costs[best]:
            break
        chosen.append(best)
        score += gains[best]
    return chosen


def _share(chosen: Sequence[int], views: int) -> NDArray[np.float64]:
    shares = np.isin(np.arange(views), chosen) / len(chosen)
    return np.repeat(shares[:, None], len(CLASSES), axis=1)
