"""Looks at each photo of a data set once, whole and at its own size, a photo for each core at a time."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.classes import IGNORE_INDEX, Classes
from trainable.data_errors import Problem
from trainable.data_facts.objects import annotated, pieces
from trainable.dataset.scene_groups import scene_hashes
from trainable.labelled_photos import Dataset, Photo, decode
from trainable.machine.cores import cpu_count

PIECES_OF = 300_000_000
"""Pixels of masks whose pieces are counted, which takes most of the time; of more, of every so manieth photo."""

THUMBNAIL = 64
"""Pixels per side of the copy of a photo whose brightness is told."""


@dataclass(frozen=True)
class PhotoFacts:
    """What one photo shows. C classes."""

    position: int  # in the data set
    class_pixels: NDArray[np.int64]  # (C,) at its own size
    hashes: NDArray[np.uint64]  # (8,), see `scene_hashes`
    brightness: float  # mean of its grey, 0 to 255
    contrast: float  # standard deviation of its grey, seen from afar
    areas: list[tuple[int, float]] | None  # class index and pixels of each object; None: not looked at


def measure(
    dataset: Dataset, told: Callable[[int], None] = lambda done: None
) -> tuple[list[PhotoFacts], tuple[Problem, ...]]:
    """Look at the photos that nothing is wrong with so far.

    Args:
        dataset: as read, with its problems.
        told: how many photos are done, after each.

    Returns:
        What the usable photos show, in order, and what is wrong with others.
    """
    bad = {problem.file_name for problem in dataset.problems}
    good = [position for position, photo in enumerate(dataset.photos) if photo.file_name not in bad]
    pixels = sum(dataset.photos[position].height * dataset.photos[position].width for position in good)
    every = max(-(-pixels // PIECES_OF), 1)

    def look(place: int) -> PhotoFacts | Problem:
        photo = dataset.photos[good[place]]
        return look_at(photo, good[place], dataset.classes, not photo.mask or place % every == 0)

    found: list[PhotoFacts] = []
    problems: list[Problem] = []
    for done, each in enumerate(_in_order(look, len(good)), start=1):
        if isinstance(each, Problem):
            problems.append(each)
        else:
            found.append(each)
        told(done)
    return found, tuple(problems)


def look_at(photo: Photo, position: int, classes: Classes, objects: bool = True) -> PhotoFacts | Problem:
    """Decode a photo and its mask, and say what they show, or what is wrong with them.

    Args:
        photo: one of the data set.
        position: its place there.
        classes: of the data set.
        objects: whether to count its objects.
    """
    decoded = decode(photo)
    if isinstance(decoded, Problem):
        return decoded
    image, mask = decoded
    small = cv2.resize(np.asarray(image), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).mean(axis=2)
    pixels = np.bincount(mask.ravel(), minlength=IGNORE_INDEX)[: len(classes)].astype(np.int64)
    areas = (pieces(mask, classes) if photo.mask else annotated(photo, classes)) if objects else None
    return PhotoFacts(position, pixels, scene_hashes(image), float(small.mean()), float(small.std()), areas)


def _in_order(look: Callable[[int], PhotoFacts | Problem], count: int) -> Iterator[PhotoFacts | Problem]:
    """Yield what `look` returns for 0 to count - 1; not many photos are looked at ahead, so that Ctrl-C ends it."""
    workers = min(cpu_count(), 8)
    with ThreadPoolExecutor(workers) as pool:
        places = iter(range(count))
        waiting: list[Future[PhotoFacts | Problem]] = [
            pool.submit(look, place) for place in islice(places, 4 * workers)
        ]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(look, place) for place in islice(places, 1)]
