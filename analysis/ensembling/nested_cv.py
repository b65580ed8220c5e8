"""The honest score of an ensemble: each part of the photos is scored by weights fitted on the other parts.

N photos, M members, C classes.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.ensembling.weights import SINGLE, Weights, fit_weights
from analysis.pool.labelled_photos import Labelled
from analysis.pool.pixel_samples import FoldMaps, Samples, whole_map
from trainable.machine.cores import cpu_count
from trainable.metric.bootstrap import Interval, difference_interval, mean_ious, miou_interval
from trainable.metric.confusion import confusion_matrices

THREAD_BYTES = 300_000_000
"""Of the probabilities that a thread adds up; larger maps are added up by fewer threads."""

Fits = dict[str, Weights]
"""Weights by the way of fitting them."""


@dataclass(frozen=True)
class Decision:
    """Which way of combining the members was best, by what it did on photos it was not fitted on."""

    method: str
    weights: Weights  # (M, C) fitted on all photos
    nested: dict[int, Weights]  # by part, fitted without it
    scores: dict[str, float]  # nested mIoU of each method
    single: Interval  # of the best single member, chosen without the photos it is scored on
    chosen: Interval  # of the decision, made without the photos it is scored on
    gain: Interval  # chosen less single, paired
    reason: str


def decide(members: Sequence[FoldMaps], labelled: Labelled, samples: Samples) -> Decision:
    """Fit every method on all parts but one in turn, and decide for the one that was best on the parts left out.

    In each part counts the method that was best on the others, with weights fitted on the others: neither saw the
    photos they are scored on. (The others' scores, by which the method is chosen, come from weights that were fitted
    on that part too; with five methods to choose from little can leak that way.) Where that is not above the best
    single member, the single is the decision.
    """
    parts = sorted(set(labelled.part.tolist()))
    subsets = [*(samples.of(labelled.part != part) for part in parts), samples]
    with ThreadPoolExecutor(cpu_count()) as pool:
        *fits, final = pool.map(fit_weights, subsets)
    by_part = dict(zip(parts, fits, strict=True))
    confusions = nested_confusions(members, labelled, by_part)
    scores = {method: float(mean_ious(matrices)[0]) for method, matrices in confusions.items()}
    best = {part: _best_without(confusions, labelled.part != part) for part in parts}
    honest = _by_method(confusions, labelled.part, best)
    single, chosen = miou_interval(confusions[SINGLE]), miou_interval(honest)
    gain = difference_interval(honest, confusions[SINGLE])
    method = max(scores, key=lambda name: scores[name])
    reason = f"{method} was best on photos left out ({scores[method]:.4f}; best single {scores[SINGLE]:.4f})"
    if chosen.value <= single.value or method == SINGLE:
        method = SINGLE
        values = f"{chosen.value:.4f} to {single.value:.4f}"
        reason = f"no ensemble was better than the best single on photos left out ({values})"
        chosen, gain = single, difference_interval(confusions[SINGLE], confusions[SINGLE])
        best = dict.fromkeys(parts, SINGLE)
    nested = {part: weights_of[best[part]] for part, weights_of in by_part.items()}
    return Decision(method, final[method], nested, scores, single, chosen, gain, reason)


def nested_confusions(
    members: Sequence[FoldMaps], labelled: Labelled, by_part: Mapping[int, Fits]
) -> dict[str, NDArray[np.int64]]:
    """Return each method's confusion matrices (N, C, C) over all pixels, by weights fitted without the photo's part."""
    methods = list(next(iter(by_part.values())))
    weights = {part: np.stack(list(fits.values())).astype(np.float32) for part, fits in by_part.items()}
    count, (height, width) = len(labelled.classes), labelled.geometry.score
    confusions = {method: np.zeros((len(labelled.file_names), count, count), np.int64) for method in methods}
    photo_bytes = 4 * len(methods) * count * height * width

    def score(positions: NDArray[np.int64]) -> None:
        # All of one part and fold: the same members, whose files are read in order.
        of_part = weights[int(labelled.part[positions[0]])]
        used = np.flatnonzero(of_part.any((0, 2))).tolist()
        names = [labelled.file_names[position] for position in positions]
        fold = int(labelled.fold[positions[0]])
        for position, *maps in zip(positions, *(members[index][fold].read(names) for index in used), strict=True):
            size = labelled.sizes([position])[0]
            mixed = np.zeros((len(methods), count, height, width), np.float32)
            for index, probabilities in zip(used, maps, strict=True):  # one at a time: there may be a hundred
                whole = whole_map(probabilities, size, labelled.geometry)
                for row in np.flatnonzero(of_part[:, index].any(1)):
                    mixed[row] += of_part[row, index, :, None, None] * whole
            truth = torch.from_numpy(labelled.truth([position])).expand(len(methods), height, width)
            matrices = confusion_matrices(truth, torch.from_numpy(mixed).max(1).indices, count).numpy()
            for method, matrix in zip(methods, matrices, strict=True):
                confusions[method][position] = matrix

    threads = max(min(cpu_count(), cpu_count() * THREAD_BYTES // photo_bytes), 1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(score, labelled.groups()))
    return confusions


def _best_without(confusions: Mapping[str, NDArray[np.int64]], others: NDArray[np.bool_]) -> str:
    return max(confusions, key=lambda method: mean_ious(confusions[method][others])[0])


def _by_method(
    confusions: Mapping[str, NDArray[np.int64]], part: NDArray[np.int64], best: Mapping[int, str]
) -> NDArray[np.int64]:
    """Return each photo's confusion by the method of its part."""
    result = np.empty_like(confusions[SINGLE])
    for number, method in best.items():
        result[part == number] = confusions[method][part == number]
    return result
