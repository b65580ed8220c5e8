"""Sampled pixels of out-of-fold photos with every member's probabilities: what weights are fitted on.

Ensembles of a hundred trials on hundreds of photos cannot look at each pixel for each candidate. So of each photo some
pixels are drawn, more of its rare classes than their share and weighted back, so that sums over the sample stand for
sums over all pixels. Pixels on which all members have the same class are counted once and for all: no weighting of the
members changes them.

M members, N photos, P pixels, C classes.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.pool.labelled_photos import Labelled
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.machine.cores import cpu_count
from trainable.metric.score_maps import COMPETITION_SIZE, at_score_pixels
from trainable.run_folder.out_of_fold import DamagedMapsError, Map, Maps, scored

FoldMaps = Mapping[int, Maps]
"""Out-of-fold probabilities by fold: of a member, or of whatever else is combined like one."""

BUDGET = 4_000_000
"""Pixels times members: bounds the time of a selection."""

MOST, LEAST = 1024, 64
"""Pixels of a photo."""


@dataclass(frozen=True)
class Samples:
    """Pixels on which members differ, and the counts of those on which they agree."""

    values: NDArray[np.uint8]  # (M, C, P) probabilities times 255
    truth: NDArray[np.uint8]  # (P,) class index
    weight: NDArray[np.float32]  # (P,) pixels that each stands for
    photo: NDArray[np.int32]  # (P,) position of its photo
    agreed: NDArray[np.float64]  # (N, C, C) confusion of the pixels on which all agree

    def of(self, photos: NDArray[np.bool_]) -> "Samples":
        """Return the samples of some photos, given by a mask (N,)."""
        chosen = photos[self.photo]
        agreed = self.agreed * photos[:, None, None]
        return Samples(self.values[:, :, chosen], self.truth[chosen], self.weight[chosen], self.photo[chosen], agreed)


class DamagedMemberError(ValueError):
    """A member's maps cannot be read."""

    def __init__(self, member: int, reason: str):
        super().__init__(reason)
        self.member, self.reason = member, reason


def draw_samples(
    members: Sequence[FoldMaps], labelled: Labelled, *, split: bool = True, budget: int = BUDGET, seed: int = 0
) -> Samples:
    """Read all members' out-of-fold probabilities at drawn pixels; without `split` none counts as agreed on.

    Raises:
        DamagedMemberError: a member's map cannot be read.
    """
    photos = len(labelled.file_names)
    count = int(np.clip(budget / (len(members) * photos), LEAST, MOST))
    names, rng = len(labelled.classes), np.random.default_rng(seed)
    drawn, classes_of = [], []
    for position in range(photos):  # one at a time: masks as large as photos do not all fit into memory
        mask = labelled.truth([position])[0]
        drawn.append(_draw(mask, count, rng, names))
        classes_of.append(mask.reshape(-1)[drawn[-1][0]])
    values = np.empty((len(members), names, sum(len(pixels) for pixels, _ in drawn)), np.uint8)
    threads = cpu_count()
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(_fill, values[index], member, labelled, drawn) for index, member in enumerate(members)]
    for index, task in enumerate(tasks):
        try:
            task.result()
        except DamagedMapsError as error:
            raise DamagedMemberError(index, str(error)) from error
    photo = np.repeat(np.arange(photos, dtype=np.int32), [len(pixels) for pixels, _ in drawn])
    classes = np.concatenate(classes_of)
    weight = np.concatenate([weight for _, weight in drawn])
    if not split:
        return Samples(values, classes, weight, photo, np.zeros((photos, names, names)))
    return _split(values, classes, weight, photo, photos)


def whole_map(
    each: Map,
    size: Sequence[int] | NDArray[np.int64] = COMPETITION_SIZE,
    geometry: Geometry = COMPETITION_GEOMETRY,
) -> NDArray[np.float32]:
    """Return a map (C, H, W) of a photo of a height and width where the score looks, (C, h, w) float32 times 255."""
    return scored(torch.from_numpy(each)[None], np.array([size]), geometry)[0].numpy()


def at_pixels(
    each: Map,
    pixels: NDArray[np.int64],
    size: Sequence[int] | NDArray[np.int64] = COMPETITION_SIZE,
    geometry: Geometry = COMPETITION_GEOMETRY,
) -> NDArray[np.uint8]:
    """Return `whole_map` at some pixels (p,) of the score's frame, (C, p), rounded, without working out the others."""
    rows, columns = pixels // geometry.score[1], pixels % geometry.score[1]
    if each.shape[1:] == geometry.score:
        return each[:, rows, columns]
    photo, row, column = (torch.from_numpy(index) for index in (np.zeros_like(pixels), rows, columns))
    own = (int(size[0]), int(size[1]))
    probabilities = at_score_pixels(torch.from_numpy(each)[None], photo, row, column, own, geometry)
    return probabilities.round_().to(torch.uint8).numpy().T


def _draw(
    mask: NDArray[np.uint8], count: int, rng: np.random.Generator, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw about `count` pixels of a mask, each class by the root of its pixels, and what each stands for."""
    flat = mask.reshape(-1)
    pixels = np.bincount(flat, minlength=classes)[:classes]
    share = np.sqrt(pixels)
    counts = np.minimum(np.ceil(count * share / max(share.sum(), 1)).astype(np.int64), pixels)
    chosen, weights = [], []
    for index in np.flatnonzero(pixels):
        of_class = np.flatnonzero(flat == index)
        chosen.append(rng.choice(of_class, counts[index], replace=False) if counts[index] < len(of_class) else of_class)
        weights.append(np.full(counts[index], pixels[index] / counts[index], np.float32))
    if not chosen:  # all of it is to be ignored
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(chosen), np.concatenate(weights)


def _fill(values: NDArray[np.uint8], member: FoldMaps, labelled: Labelled, drawn: Sequence[tuple]) -> None:
    """Write a member's probabilities at the drawn pixels into (C, P)."""
    starts = np.cumsum([0, *(len(pixels) for pixels, _ in drawn)])
    for fold, maps in member.items():
        positions = np.flatnonzero(labelled.fold == fold)
        names = [labelled.file_names[position] for position in positions]
        for position, probabilities in zip(positions, maps.read(names), strict=True):
            values[:, starts[position] : starts[position + 1]] = at_pixels(
                probabilities, drawn[int(position)][0], labelled.sizes([int(position)])[0], labelled.geometry
            )


def _split(
    values: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    weight: NDArray[np.float32],
    photo: NDArray[np.int32],
    photos: int,
) -> Samples:
    """Count the pixels on which all members have the same class and keep the others."""
    first, classes = values[0].argmax(0), values.shape[1]
    agree = np.ones(len(truth), bool)
    for probabilities in values[1:]:
        agree &= probabilities.argmax(0) == first
    index = (photo[agree].astype(np.int64) * classes + truth[agree]) * classes + first[agree]
    agreed = np.bincount(index, weight[agree], photos * classes**2).reshape(photos, classes, classes).astype(np.float64)
    differ = ~agree
    return Samples(np.ascontiguousarray(values[:, :, differ]), truth[differ], weight[differ], photo[differ], agreed)
