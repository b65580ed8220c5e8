"""Fits each filter on out-of-fold probabilities and puts it through the gate (see `analysis/ensembling/acceptance.py`).

N photos, C classes.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from analysis.ensembling.acceptance import Confusions, Gate, best_option, judge, without_own_part
from analysis.ensembling.out_of_fold_maps import Tick, read_all
from analysis.ensembling.weights import sampled_miou
from analysis.pool.labelled_photos import Labelled
from analysis.pool.pixel_samples import FoldMaps, Samples, draw_samples
from analysis.prediction import crf
from analysis.prediction.filters import edge_padded, scaled, without_small
from trainable.machine.cores import cpu_count
from trainable.metric.bootstrap import mean_ious
from trainable.metric.confusion import confusion_matrices
from trainable.run_folder.out_of_fold import Map

ClassMap = NDArray[np.uint8]

SIDE = 256
"""Pixels per side of maps that sizes, distances and numbers of photos here are given for; others have their share."""

CRF_PHOTOS, FEWEST = 120, 24
"""Photos on which parameters of the CRF are searched; those that are best are then scored on all. Fewer where maps are
larger, which take as much longer."""

WINDOW = 48
"""Photos that are handed to the CRF's processes at a time."""

PIECES = (0, 16, 32, 64, 128, 256)
"""Sizes in pixels below which connected pieces may be removed."""

FACTORS = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.6, 2.5)


def confusions_of(
    maps: FoldMaps, labelled: Labelled, to_classes: Callable[[Map, int], Sequence[ClassMap]]
) -> list[Confusions]:
    """Return the confusion matrices (N, C, C) of each of the class maps made of a photo's map and its part.

    A map is handed on without the padding of the score's frame, and class maps have none.
    """

    def score(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [
            confusion(labelled, int(position), to_classes(probabilities, int(labelled.part[position])))
            for position, probabilities in zip(group, _unpadded(maps, labelled, group), strict=True)
        ]

    groups = labelled.groups()
    with ThreadPoolExecutor(cpu_count()) as pool:
        by_photo = [matrices for group in pool.map(score, groups) for matrices in group]
    order = np.argsort(np.concatenate(groups))
    return list(np.stack(by_photo)[order].swapaxes(0, 1))


def confusion(labelled: Labelled, position: int, classes: Sequence[ClassMap]) -> NDArray[np.int64]:
    """Return the confusion matrices (K, C, C) of K class maps of a photo, with padding or without."""
    said = np.stack(classes)
    height, width = said.shape[1:]
    truth = torch.from_numpy(labelled.truth([position])[:, :height, :width]).expand(said.shape)
    return confusion_matrices(truth, torch.from_numpy(said), len(labelled.classes)).numpy()


def area(labelled: Labelled) -> float:
    """Return the pixels of the score's frame, in those of `SIDE` x `SIDE`."""
    return math.prod(labelled.geometry.score) / SIDE**2


def _unpadded(maps: FoldMaps, labelled: Labelled, positions: NDArray[np.int64]) -> Iterator[Map]:
    """Yield the part of each photo's map that the photo fills."""
    for position, probabilities in zip(positions, read_all(maps, labelled, positions), strict=True):
        height, width = labelled.content(int(position))
        yield probabilities[:, :height, :width]


def fit_pieces(
    maps: FoldMaps, labelled: Labelled, to_classes: Callable[[Map, int], ClassMap], before: Confusions
) -> Gate:
    """Fit the size below which connected pieces are removed, see `without_small`."""
    sizes = [round(size * area(labelled)) for size in PIECES]
    background = labelled.classes.background
    options = confusions_of(
        maps,
        labelled,
        lambda probabilities, part: [
            without_small(to_classes(probabilities, part), size, background) for size in sizes
        ],
    )
    after, _ = without_own_part(options, labelled.part)
    size = sizes[best_option(options, np.ones(len(before), bool))]
    return judge("small pieces", before, after, {"pixels": size})


def fit_factors(maps: FoldMaps, labelled: Labelled, before: Confusions) -> tuple[Gate, dict[int, NDArray[np.float32]]]:
    """Fit a factor for each class's probability; returns those by part, fitted without it, too."""
    samples = draw_samples([maps], labelled, split=False)
    parts = sorted(set(labelled.part.tolist()))
    with ThreadPoolExecutor(cpu_count()) as pool:
        *fits, final = pool.map(class_factors, [*(samples.of(labelled.part != part) for part in parts), samples])
    nested = dict(zip(parts, fits, strict=True))
    after = confusions_of(
        maps, labelled, lambda probabilities, part: [scaled(probabilities, nested[part]).argmax(0).astype(np.uint8)]
    )[0]
    rounded = [round(float(factor), 4) for factor in final]
    return judge("class factors", before, after, {"factors": rounded}), nested


def class_factors(samples: Samples, rounds: int = 2) -> NDArray[np.float32]:
    """Return factors (C,) of the classes' probabilities, improved one class at a time for the samples' mIoU."""
    classes = samples.values.shape[1]
    factors = np.ones(classes, np.float32)
    best = sampled_miou(samples, [0], factors)
    for _ in range(rounds):
        for index in range(classes):
            for factor in FACTORS:
                tried = factors.copy()
                tried[index] = factor
                if (value := sampled_miou(samples, [0], tried)) > best:
                    best, factors = value, tried
    return factors


def crf_options(
    count: int, seed: int = 0, scale: float = 1.0
) -> Iterator[tuple[optuna.Study, optuna.Trial, dict[str, Any]]]:
    """Yield parameters of the CRF that cover their ranges evenly, asked of an Optuna study.

    A quasi-random sampler does not look at scores: else what is tried would depend on the photos that judge it.

    Args:
        count: of the options.
        seed: of the sampler.
        scale: sides of the maps, in those of `SIDE` pixels: distances grow with them.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(count):
        trial = study.ask()
        yield (
            study,
            trial,
            {
                "near": trial.suggest_float("near", 1 * scale, 6 * scale),
                "alike": trial.suggest_float("alike", 8 * scale, 80 * scale, log=True),
                "colour": trial.suggest_float("colour", 3, 30, log=True),
                "smooth_weight": trial.suggest_float("smooth_weight", 0.3, 5, log=True),
                "colour_weight": trial.suggest_float("colour_weight", 0.5, 10, log=True),
                "iterations": trial.suggest_int("iterations", 2, 8),
            },
        )


def fit_crf(
    maps: FoldMaps, labelled: Labelled, before: Confusions, executor: Executor, options: int, tick: Tick
) -> tuple[Gate, dict[int, dict[str, Any]]]:
    """Search the CRF's parameters, in the executor's processes; returns those by part, chosen without it, too.

    Args:
        maps: the ensemble's out-of-fold probabilities.
        labelled: the photos.
        before: confusion matrices without the CRF.
        executor: of processes.
        options: parameters to try.
        tick: told of each photo.
    """
    photos = min(max(round(CRF_PHOTOS / area(labelled)), FEWEST), CRF_PHOTOS)
    some = _some_of_each_part(labelled.part, photos)
    tried, scored = [], []
    for study, trial, params in crf_options(options, scale=math.sqrt(area(labelled))):
        matrices = _crf_confusions(maps, labelled, some, params, executor, tick)
        study.tell(trial, float(mean_ious(matrices)[0]))
        tried.append(params)
        scored.append(matrices)
    part = labelled.part[some]
    chosen = {int(held_out): best_option(scored, part != held_out) for held_out in set(part.tolist())}
    final = best_option(scored, np.ones(len(some), bool))
    after = before.copy()
    for option in sorted(set(chosen.values())):
        inside = np.flatnonzero(np.isin(labelled.part, [number for number, index in chosen.items() if index == option]))
        after[inside] = _crf_confusions(maps, labelled, inside, tried[option], executor, tick)
    return judge("crf", before, after, tried[final]), {number: tried[index] for number, index in chosen.items()}


def crf_maps(
    maps: FoldMaps, labelled: Labelled, nested: dict[int, dict[str, Any]], executor: Executor
) -> Iterator[tuple[int, Map]]:
    """Yield each photo's position and its map after the CRF that was chosen without it."""
    for group in labelled.groups():
        photos, params = labelled.scored_photos(group), nested[int(labelled.part[group[0]])]
        refined = crf.refine_all(executor, list(_unpadded(maps, labelled, group)), photos, params)
        for position, probabilities in zip(group.tolist(), refined, strict=True):
            yield position, edge_padded(probabilities, labelled.geometry.score)


def _crf_confusions(
    maps: FoldMaps,
    labelled: Labelled,
    positions: NDArray[np.int64],
    params: dict[str, Any],
    executor: Executor,
    tick: Tick,
) -> Confusions:
    matrices = []
    for start in range(0, len(positions), WINDOW):
        window = positions[start : start + WINDOW]
        photos = labelled.scored_photos(window)
        refined = crf.refine_all(executor, list(_unpadded(maps, labelled, window)), photos, params)
        for position, probabilities in zip(window, refined, strict=True):
            matrices.append(confusion(labelled, int(position), [probabilities.argmax(0).astype(np.uint8)])[0])
            tick(1)
    return np.stack(matrices)


def _some_of_each_part(part: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return about `count` positions, of every part its share and one at least."""
    step = max(len(part) // count, 1)
    return np.sort(np.concatenate([np.flatnonzero(part == number)[::step] for number in np.unique(part)]))
