"""Decodes each photo and mask once per node, into uint8 memmaps at the training size that all trials share.

A cache is a folder named by what it was made of: the json files, each photo's size and time of change, the image size
and `VERSION`. It is built aside, by one process under a lock, and renamed when whole: a kill at any
moment leaves no half cache, and the next build clears what was left over.
"""

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from trainable.classes import COMPETITION, IGNORE_INDEX, Classes
from trainable.counts import counted
from trainable.data_errors import Problem
from trainable.dataset.label_confidence import CERTAIN, read_confidence, shrink_confidence
from trainable.dataset.scene_groups import scene_hashes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape, shape_text
from trainable.images.photo_files import UNREADABLE
from trainable.images.resampling import padded, resize_mask, resize_photo, score_mask
from trainable.labelled_photos import Dataset, Photo, check, decode, undecodable
from trainable.storage.atomic_write import read_json, write_json

VERSION = 2
"""Of what a cache holds. It grows with each change of how photos are decoded, resized or annotated, see its test."""


@dataclass(frozen=True)
class Cache:
    """The photos of a data set in frames of one size H x W, memory-mapped. N photos, C classes.

    Where a photo does not fill a frame (see `trainable/geometry.py`), the rest is black and ignored.
    """

    path: Path
    file_names: tuple[str, ...]
    images: NDArray[np.uint8]  # (N, H, W, 3) RGB
    masks: NDArray[np.uint8]  # (N, H, W) class index, or IGNORE_INDEX
    score_masks: NDArray[np.uint8]  # (N, h, w) the same where the score looks, from the photo's own size
    class_pixels: NDArray[np.int64]  # (N, C) pixels of each class at the photo's own size
    photo_sizes: NDArray[np.int64]  # (N, 2) height and width of the photo in pixels
    annotation_counts: NDArray[np.int64]  # (N,)
    scene_hashes: NDArray[np.uint64]  # (N, 8)
    confidence: NDArray[np.uint8] | None = None  # (M, H, W) of the labels of the last M photos, 255 is certain
    classes: Classes = COMPETITION
    geometry: Geometry = COMPETITION_GEOMETRY

    @property
    def frame(self) -> Shape:
        """Return the height and width of the images."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def photo_pixels(self) -> NDArray[np.int64]:
        """Return how many pixels each photo has at its own size, (N,)."""
        return np.asarray(self.photo_sizes).prod(axis=1)

    def labels(self, position: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a photo's mask (H, W), each pixel's label kept with the chance of its confidence, or else ignored.

        Over many draws a pixel counts in any loss as much as its label is sure. Nothing is drawn for a photo whose
        labels are all certain.
        """
        mask = self.masks[position]
        row = position - (len(self.masks) - len(self.confidence)) if self.confidence is not None else -1
        if self.confidence is None or row < 0:
            return mask
        kept = rng.integers(255, size=mask.shape, dtype=np.uint8) < self.confidence[row]
        return np.where(kept, mask, np.uint8(IGNORE_INDEX))


class DiskFullError(OSError):
    """The cache does not fit on its disk."""


def check_cache_dir(path: Path) -> None:
    """See that caches can be written to a folder, which is made if it is missing, or that it has some already.

    Raises:
        ValueError: neither.
    """
    if next(path.glob("*/index.json"), None):
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f"the cache of decoded photos cannot be written to {path} ({error.strerror}): set HOME to a folder that "
            "you can write to, or pass --cache-dir DIR"
        ) from error


def open_cache(path: Path) -> Cache:
    """Map an existing cache into memory; costs a few file handles and no copy."""
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")}
    index = read_json(path / "index.json")
    return Cache(
        path=path,
        file_names=tuple(index["file_names"]),
        classes=Classes.from_dict(index["classes"]),
        geometry=Geometry.from_dict(index["geometry"]),
        **arrays,
    )


def build_cache(
    dataset: Dataset,
    image_size: int,
    cache_dir: Path,
    *,
    geometry: Geometry = COMPETITION_GEOMETRY,
    skip_bad: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> tuple[Cache, tuple[Problem, ...]]:
    """Return the cache of a data set at an image size, made now if it is not there, and what was skipped.

    Args:
        dataset: as read, with its problems.
        image_size: pixels of a photo's longer side.
        cache_dir: folder for all caches.
        geometry: the frames of the photos.
        skip_bad: leave out bad photos rather than raise.
        announce: told once, before the decoding starts.

    Raises:
        DataError: the data set has problems, those found on decoding included (see `coco.check`).
        DiskFullError: the disk cannot hold it.
    """
    path = cache_dir.absolute() / cache_key(dataset, image_size, skip_bad, geometry)
    if not (path / "index.json").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            for leftover in path.parent.glob(f"{path.name}.*.part"):
                shutil.rmtree(leftover)
            if not (path / "index.json").exists():
                _build(dataset, image_size, geometry, path, skip_bad, announce)
    skipped = tuple(Problem(**problem) for problem in read_json(path / "index.json")["skipped"])
    return open_cache(path), skipped


def cache_key(
    dataset: Dataset, image_size: int, skip_bad: bool = False, geometry: Geometry = COMPETITION_GEOMETRY
) -> str:
    """Return the name of the cache folder: a hash of all that decides its content."""
    made_of = (VERSION, dataset.json_hash, image_size, skip_bad, geometry, dataset.classes.to_dict())
    digest = hashlib.sha256(repr(made_of).encode())
    for photo in dataset.photos:
        digest.update(f"{photo.file_name} {_stamp(photo.path)}".encode())
        if photo.confidence:
            digest.update(f"{_stamp(photo.confidence)}".encode())
    return digest.hexdigest()[:24]


def needed_bytes(
    photos: int,
    image_size: int,
    confidence: bool = False,
    geometry: Geometry = COMPETITION_GEOMETRY,
    classes: int = len(COMPETITION),
) -> int:
    """Return the disk need of a cache: per photo an RGB image and two masks, with soft labels one more."""
    frame, scored = (math.prod(shape) for shape in (geometry.frame(image_size), geometry.score))
    return photos * ((4 + confidence) * frame + scored + 8 * classes + 128)


def check_room(
    dataset: Dataset,
    image_sizes: Sequence[int],
    cache_dir: Path,
    skip_bad: bool = False,
    geometry: Geometry = COMPETITION_GEOMETRY,
) -> int:
    """See that the disk holds what is still to be cached of a data set, at all image sizes together.

    Returns:
        The bytes that this takes.

    Raises:
        DiskFullError: it does not.
    """
    folder, count = cache_dir.absolute(), len(dataset.photos)
    keys = {size: cache_key(dataset, size, skip_bad, geometry) for size in image_sizes}
    sizes = [size for size, key in keys.items() if not (folder / key / "index.json").exists()]
    frames = [shape_text(geometry.frame(size)) for size in sizes]
    need = sum(needed_bytes(count, size, _is_soft(dataset), geometry, len(dataset.classes)) for size in sizes)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if need > (free := shutil.disk_usage(existing).free):
        raise DiskFullError(
            f"caching {counted(count, 'photo')} at {' and '.join(frames)} px needs {need / 1e6:,.0f} MB, "
            f"{folder} has {free / 1e6:,.0f} MB free; make room or name another disk with --cache-dir, or a smaller "
            "--image-size"
        )
    return need


def _is_soft(dataset: Dataset) -> bool:
    return any(photo.confidence for photo in dataset.photos)


def _build(
    dataset: Dataset,
    size: int,
    geometry: Geometry,
    path: Path,
    skip_bad: bool,
    announce: Callable[[str], None],
) -> None:
    count, soft = len(dataset.photos), _is_soft(dataset)
    need = check_room(dataset, [size], path.parent, skip_bad, geometry)
    frame = geometry.frame(size)
    announce(f"caching {counted(count, 'photo')} at {shape_text(frame)} px ({need / 1e6:,.0f} MB) in {path.parent}")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        arrays = _arrays(part, count, frame, geometry.score, len(dataset.classes), soft)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            bad = {problem.file_name for problem in dataset.problems}
            good = [index for index, photo in enumerate(dataset.photos) if photo.file_name not in bad]
            faults = pool.map(
                lambda index: _decode(dataset.photos[index], index, arrays, geometry, dataset.classes), good
            )
            new_problems = tuple(fault for fault in faults if fault)
        dataset = replace(dataset, problems=dataset.problems + new_problems)
        kept_names = {photo.file_name for photo in check(dataset, skip_bad).photos}
        kept_indices = [index for index, photo in enumerate(dataset.photos) if photo.file_name in kept_names]
        for name, array in arrays.items():
            array.flush()
            if len(kept_indices) < count:
                np.save(part / f"{name}.npy", array[kept_indices])
        names = [dataset.photos[index].file_name for index in kept_indices]
        skipped = [problem.__dict__ for problem in dataset.problems]
        write_json(
            part / "index.json",
            {
                "image_size": size,
                "geometry": geometry.to_dict(),
                "classes": dataset.classes.to_dict(),
                "file_names": names,
                "skipped": skipped,
            },
        )
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    stat = path.stat() if path.exists() else None
    return stat and (stat.st_size, stat.st_mtime_ns)


def _arrays(folder: Path, count: int, frame: Shape, score: Shape, classes: int, soft: bool) -> dict[str, Any]:
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "images": ((count, *frame, 3), np.uint8),
        "masks": ((count, *frame), np.uint8),
        "score_masks": ((count, *score), np.uint8),
        "class_pixels": ((count, classes), np.int64),
        "photo_sizes": ((count, 2), np.int64),
        "annotation_counts": ((count,), np.int64),
        "scene_hashes": ((count, 8), np.uint64),
        **({"confidence": ((count, *frame), np.uint8)} if soft else {}),
    }
    return {name: open_memmap(folder / f"{name}.npy", "w+", dtype, shape) for name, (shape, dtype) in shapes.items()}


def _decode(photo: Photo, index: int, arrays: dict[str, Any], geometry: Geometry, classes: Classes) -> Problem | None:
    frame = arrays["masks"].shape[1:]
    decoded = decode(photo)
    if isinstance(decoded, Problem):
        return decoded
    image, mask = decoded
    try:
        sure = read_confidence(photo.confidence) if photo.confidence else None
    except UNREADABLE as error:
        return undecodable(photo, error)
    content = geometry.content((mask.shape[0], mask.shape[1]), frame)
    small = resize_mask(mask, *content)
    arrays["images"][index] = padded(resize_photo(np.asarray(image), *content), frame)
    arrays["masks"][index] = padded(small, frame, IGNORE_INDEX)
    arrays["score_masks"][index] = score_mask(mask, geometry)
    if sure is not None:
        arrays["confidence"][index] = padded(shrink_confidence(sure, mask, small, geometry), frame, CERTAIN)
    elif "confidence" in arrays:
        arrays["confidence"][index] = CERTAIN
    arrays["class_pixels"][index] = np.bincount(mask.ravel(), minlength=IGNORE_INDEX)[: arrays["class_pixels"].shape[1]]
    arrays["photo_sizes"][index] = mask.shape
    objects = arrays["class_pixels"][index][classes.objects]  # where a mask has no annotations, its classes count
    arrays["annotation_counts"][index] = np.count_nonzero(objects) if photo.mask else len(photo.annotations)
    arrays["scene_hashes"][index] = scene_hashes(image)
    return None
