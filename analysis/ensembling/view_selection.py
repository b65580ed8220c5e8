"""Which views of a photo to predict: those that gain most for their cost, on photos they were not chosen on.

V views, N photos, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.ensembling.acceptance import by_part
from analysis.ensembling.nested_cv import nested_confusions
from analysis.ensembling.weights import sampled_miou
from analysis.pool.candidates import Member
from analysis.pool.labelled_photos import Labelled
from analysis.pool.pixel_samples import FoldMaps, Samples, draw_samples
from analysis.prediction.networks import for_frames
from analysis.prediction.views import PLAIN, VIEWS
from trainable.classes import COMPETITION, Classes
from trainable.config import TrialConfig
from trainable.geometry import Shape, frame_of
from trainable.metric.bootstrap import Interval, difference_interval, mean_ious
from trainable.model.segmenter import check_model

LEAST_GAIN = 0.001
"""mIoU that views must gain, on photos they were not chosen on, for each pass over a photo that they add."""


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
    """Choose views greedily, the one with the largest gain per cost first, and take them if they gain enough.

    The choice is scored as the weights are: each part of the photos with views chosen on the others, their number too.
    That gain decides: it must be `least_gain` for each pass that the views add. Without it the photo as it is remains
    the only view.

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
    plain, chain = [0], _greedy(samples, costs, least_gain)
    if chain == plain:
        why = f"no view gains {least_gain:g} for each pass it adds"
        return _no_views(parts, Interval(0.0, 0.0, 0.0), why)
    chains = {part: _greedy(samples.of(labelled.part != part), costs, least_gain) for part in parts}
    # Of each part the first of its views, the first two, and so on.
    fits = {
        part: {
            str(count): _share(views[:count], len(names), len(labelled.classes)) for count in range(1, len(chain) + 1)
        }
        for part, views in chains.items()
    }
    first = list(nested_confusions([maps[name] for name in names], labelled, fits).values())

    def best_count(photos: NDArray[np.bool_]) -> int:
        return max(
            range(2, len(chain) + 1),
            key=lambda count: float(mean_ious(first[count - 1][photos])[0]) - least_gain * _added(chain[:count], costs),
        )

    count_of = {part: best_count(labelled.part != part) for part in parts}
    with_views = by_part(first, labelled.part, {part: count - 1 for part, count in count_of.items()})
    gain = difference_interval(with_views, first[0])
    chosen = chain[: best_count(np.ones(len(labelled.part), bool))]
    added = _added(chosen, costs)
    asked, enough = least_gain * added, gain.value >= least_gain * added
    outcome = (
        f"gain {gain:+} on photos they were not chosen on, {'at least' if enough else 'less than'} the {asked:.4f} "
        f"that {1 + added:.1f} times the passes must gain"
    )
    if not enough:
        tried = ", ".join(names[index] for index in chosen[1:])
        return _no_views(parts, gain, f"left out: {tried}: {outcome}")
    nested = {part: tuple(names[index] for index in views[: count_of[part]]) for part, views in chains.items()}
    return Augmentation(tuple(names[index] for index in chosen), nested, 1 + added, gain, outcome)


def _no_views(parts: Sequence[int], gain: Interval, reason: str) -> Augmentation:
    return Augmentation((PLAIN,), dict.fromkeys(parts, (PLAIN,)), 1.0, gain, reason)


def _added(chosen: Sequence[int], costs: Sequence[float]) -> float:
    """Return the passes that views cost beside that of the photo as it is, the first of them."""
    return sum(costs[index] for index in chosen[1:])


def usable_views(
    names: Sequence[str], members: Sequence[Member], classes: Classes = COMPETITION
) -> tuple[dict[str, float], list[str]]:
    """Return the views that all members' networks can take, with their mean costs, and why others are left out.

    A scale at which no network sees another size than in an earlier view is left out too, and mirrored photos where
    classes may not be mirrored.
    """
    configs = [TrialConfig.from_dict(next(iter(member.models.values())).config()) for member in members]
    costs: dict[str, float] = {}
    looks: set[tuple[Any, ...]] = set()
    notes = []
    for name in dict.fromkeys((PLAIN, *names)):
        view = VIEWS[name]
        sizes = [view.size(config.image_size) for config in configs]
        look = (view.flipped, view.turns, *sizes)
        frames = [view.seen(frame_of(size, config.aspect)) for config, size in zip(configs, sizes, strict=True)]
        mirrored = "the classes tell sides apart that a mirror swaps" if view.flipped and not classes.may_mirror else ""
        problem = mirrored or next((fault for fault in map(_problem, configs, frames) if fault), None)
        if problem or look in looks:
            why = problem or "it is the same size as another view"
            notes.append(f"photos {name} are left out of the test-time augmentation: {why}")
            continue
        looks.add(look)
        costs[name] = sum(view.cost(config.image_size) for config in configs) / len(configs)
    return costs, notes


def _problem(config: TrialConfig, frame: Shape) -> str | None:
    """Return why a network cannot take photos in a frame; None for its own, and for all where it has learnt tiles."""
    if config.tile_size or frame == config.input_shape:
        return None
    try:
        # Its own weights follow, so that those of its encoder need not be at hand.
        check_model(replace(for_frames(config, frame), encoder_weights="none"))
    except ValueError as error:
        return str(error)
    return None


def view_scores(maps: Mapping[str, FoldMaps], labelled: Labelled) -> dict[str, float]:
    """Return the out-of-fold mIoU of each view alone."""
    parts = sorted(set(labelled.part.tolist()))
    fits = {name: _share([index], len(maps), len(labelled.classes)) for index, name in enumerate(maps)}
    confusions = nested_confusions(list(maps.values()), labelled, dict.fromkeys(parts, fits))
    return {name: float(mean_ious(matrices)[0]) for name, matrices in confusions.items()}


def _greedy(samples: Samples, costs: Sequence[float], least_gain: float) -> list[int]:
    """Return the chosen views' indices; the photo as it is, the first, is always among them."""
    chosen, score = [0], sampled_miou(samples, [0])
    while len(chosen) < len(costs):
        remaining = [index for index in range(len(costs)) if index not in chosen]
        gains = {index: sampled_miou(samples, [*chosen, index]) - score for index in remaining}
        best = max(remaining, key=lambda index: gains[index] / costs[index])
        if gains[best] < least_gain * costs[best]:
            break
        chosen.append(best)
        score += gains[best]
    return chosen


def _share(chosen: Sequence[int], views: int, classes: int) -> NDArray[np.float64]:
    shares = np.isin(np.arange(views), chosen) / len(chosen)
    return np.repeat(shares[:, None], classes, axis=1)
