"""The ensemble's own out-of-fold probabilities: each photo by models and weights that never saw it.

Test-time augmentation and filters are chosen on them.

Files lie in the run's `ensemble/` folder, one per view, and are made anew when what they depend on has changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.ensembling.weights import Weights
from analysis.pool.candidates import Member
from analysis.pool.labelled_photos import Labelled
from analysis.pool.pixel_samples import FoldMaps
from analysis.prediction.ensemble_file import Ensemble, Voter, stamp
from analysis.prediction.networks import Networks, mixed
from trainable.run_folder.out_of_fold import DamagedMapsError, Map, Maps, encoded, write_maps

VERSION = 2
"""Of how maps are made of a network's: files of an older one are made anew."""

Tick = Callable[[int], None]
"""Told how many photos have been done."""


def view_maps(
    folder: Path,
    view: str,
    members: Sequence[Member],
    nested: Mapping[int, Weights],
    labelled: Labelled,
    networks: Networks,
    tick: Tick,
) -> FoldMaps:
    """Return the ensemble's out-of-fold maps of one view, predicted now unless they are there.

    Args:
        folder: where the file goes.
        view: of `analysis/prediction/views.py`.
        members: of the ensemble.
        nested: weights (M, C) by part of the photos, fitted without it.
        labelled: the photos.
        networks: the models, loaded when needed.
        tick: told of each chunk.
    """
    stamps = [stamp(folder.best_weights) for member in members for folder in member.models.values()]
    weights = [[np.round(of_part, 9).tolist() for of_part in nested.values()], [member.name for member in members]]
    key = hashlib.sha256(json.dumps([view, weights, stamps, VERSION]).encode()).hexdigest()[:12]
    path = folder / f"{view.replace(' ', '_')}-{key}.parquet"
    if not (maps := _open(path, labelled)):
        for old in folder.glob(f"{view.replace(' ', '_')}-*.parquet"):
            old.unlink()
        maps = write_all(path, labelled, _predicted(view, members, nested, labelled, networks, tick))
    return maps


def write_all(path: Path, labelled: Labelled, maps: Iterable[tuple[int, Map]]) -> FoldMaps:
    """Write a map of each photo, given with its position, and return them by fold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ((labelled.file_names[position], encoded([probabilities])[0]) for position, probabilities in maps)
    write_maps(path, rows, labelled.geometry.score, classes=labelled.classes.names)
    return dict.fromkeys(sorted(set(labelled.fold.tolist())), Maps.open(path))


def read_all(maps: FoldMaps, labelled: Labelled, positions: Iterable[int]) -> Iterator[Map]:
    """Yield the maps of photos by their positions."""
    return iter(next(iter(maps.values())).read(labelled.file_names[position] for position in positions))


def mean_maps(views: Sequence[FoldMaps], labelled: Labelled, positions: NDArray[np.int64]) -> Iterator[tuple[int, Map]]:
    """Yield each photo's position and the mean of its maps of several views."""
    for position, *maps in zip(positions, *(read_all(view, labelled, positions) for view in views), strict=True):
        mean = sum(probabilities.astype(np.float32) for probabilities in maps) / len(maps)
        yield int(position), np.rint(mean).astype(np.uint8)


def _predicted(
    view: str,
    members: Sequence[Member],
    nested: Mapping[int, Weights],
    labelled: Labelled,
    networks: Networks,
    tick: Tick,
) -> Iterator[tuple[int, Map]]:
    used = {
        folder.path: folder
        for member, folds in zip(members, zip(*nested.values(), strict=True), strict=True)
        if any(share.any() for share in folds)
        for folder in member.models.values()
    }
    most = networks.chunk(list(used.values()), labelled.classes, labelled.geometry)
    for group in labelled.groups(most):
        fold, weights = int(labelled.fold[group[0]]), nested[int(labelled.part[group[0]])]
        voters = tuple(
            Voter(member.models[fold], fold, share)
            for member, share in zip(members, weights, strict=True)
            if share.any()
        )
        ensemble = Ensemble(Path(), voters, (view,), (), classes=labelled.classes, geometry=labelled.geometry)
        predicted = mixed(
            ensemble, len(group), partial(labelled.images, positions=group), networks, labelled.sizes(group)
        )
        yield from zip(group.tolist(), predicted, strict=True)
        tick(len(group))


def _open(path: Path, labelled: Labelled) -> FoldMaps | None:
    if not path.exists():
        return None
    try:
        maps = Maps.open(path)
    except DamagedMapsError:
        return None  # cut off: it is made again
    whole = set(maps.row_of) >= set(labelled.file_names) and maps.shape == labelled.geometry.score
    return dict.fromkeys(sorted(set(labelled.fold.tolist())), maps) if whole else None
