"""Writes pseudo labels as a folder that `search/run.py --extra` reads, see `trainable/dataset/extra_photos.py`."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from analysis.pseudo_labels.unlabelled import Unlabelled
from trainable.classes import COMPETITION, IGNORE_INDEX, Classes
from trainable.dataset.cache import DiskFullError
from trainable.dataset.extra_photos import confidence_path
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape
from trainable.images.resampling import SCORE_SIZE, unscored_mask
from trainable.storage.atomic_write import write_json

Map = NDArray[np.uint8]
"""(h, w), where the score looks."""

JSON_BYTES = 100_000
"""Of a photo's run-length codes at 256 x 256, generously: 47,000 on real photos by a model that had learnt next to
nothing."""


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write to, which becomes `out` when all is written; nothing is left of it otherwise.

    Raises:
        ValueError: `out` exists.
    """
    check_new(out)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_new(out: Path) -> None:
    """Check that a folder is not there yet.

    Raises:
        ValueError: it is.
    """
    if out.exists():
        raise ValueError(f"--out {out} exists; name another folder, or move it away")


@contextmanager
def scratch_maps(folder: Path, photos: int, score: Shape = COMPETITION_GEOMETRY.score) -> Iterator[NDArray[np.uint8]]:
    """Give an array (N, 2, h, w) on disk, for classes and confidences, which is gone afterwards."""
    path = folder / "scratch.npy"
    try:
        yield open_memmap(path, "w+", np.uint8, (photos, 2, *score))
    finally:
        path.unlink(missing_ok=True)


def check_space(
    folder: Path, photos: Sequence[Unlabelled], sets: int, score: Shape = COMPETITION_GEOMETRY.score
) -> None:
    """Check that the disk can hold photos with a number of sets of labels made in the score's frame.

    Raises:
        DiskFullError: it cannot.
    """
    disk = next(path for path in (folder, *folder.parents) if path.exists())
    need = sum(photo.path.stat().st_size for photo in photos)  # where they cannot be linked
    pixels = math.prod(score)
    need += len(photos) * (sets * (pixels + round(JSON_BYTES * pixels / SCORE_SIZE**2)) + 2 * pixels)
    free = shutil.disk_usage(disk).free
    if need > free:
        raise DiskFullError(
            f"pseudo labels for {len(photos)} photos need {need / 1e6:,.0f} MB, {disk} has {free / 1e6:,.0f} MB free; "
            "make room or name another --out"
        )


def put_photos(folder: Path, photos: Sequence[Unlabelled]) -> None:
    """Put the photos into a folder under their names: as hard links where the disk is the same, else as copies."""
    for photo in photos:
        path = folder / photo.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(photo.path.resolve(), path)
        except OSError:
            shutil.copyfile(photo.path, path)


class LabelFile:
    """One set of labels: the json of all photos, and with soft labels a picture of confidences for each."""

    def __init__(
        self,
        folder: Path,
        name: str,
        soft: bool,
        classes: Classes = COMPETITION,
        geometry: Geometry = COMPETITION_GEOMETRY,
    ):
        self.folder, self.name, self.soft = folder, name, soft
        self.classes, self.geometry = classes, geometry
        self.first_id = 1 - classes.objects[0]  # of class 0: categories are counted from 1, background is none
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, photo: Unlabelled, labels: Map, confidence: Map) -> None:
        """Add a photo's labels; one without any is left out."""
        height, width = self.geometry.scored((photo.height, photo.width))
        if (labels[:height, :width] == IGNORE_INDEX).all():
            return
        image_id = len(self.images)
        size = {"height": photo.height, "width": photo.width}
        self.images.append({"id": image_id, "file_name": photo.file_name, **size})
        large = unscored_mask(labels, photo.height, photo.width, self.geometry)
        for value in np.unique(large[large >= self.classes.objects[0]]):
            described = annotation(large, value, self.first_id)
            self.annotations.append({"id": len(self.annotations), "image_id": image_id, **described})
        if self.soft:
            path = confidence_path(self.folder, self.name, photo.file_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            certain = np.where(labels == IGNORE_INDEX, np.uint8(0), confidence)[:height, :width]  # without padding
            if not cv2.imwrite(str(path), certain):
                raise OSError(f"{path} cannot be written")

    def write(self) -> None:
        """Write the json."""
        named = [(index + self.first_id, self.classes.names[index]) for index in self.classes.objects]
        categories = [{"id": number, "name": name, "supercategory": name} for number, name in named]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        write_json(self.folder / f"{self.name}.json", content)


def annotation(labels: NDArray[np.uint8], value: int, first_id: int = 0) -> dict[str, Any]:
    """Return the COCO annotation of all pixels of a class, or of those to ignore, in labels at the photo's size.

    Args:
        labels: (H, W) class indices, or IGNORE_INDEX.
        value: the class, or IGNORE_INDEX.
        first_id: category id of class 0.
    """
    code = rle_masks.encode(np.asfortranarray(labels == value))
    area, box = int(rle_masks.area(code)), [float(side) for side in rle_masks.toBbox(code)]
    segmentation = {"size": list(code["size"]), "counts": code["counts"].decode()}
    # What is ignored is of no class, but every annotation names one.
    kind = {"category_id": 1, "ignore": 1} if value == IGNORE_INDEX else {"category_id": int(value) + first_id}
    return {**kind, "segmentation": segmentation, "area": area, "bbox": box, "iscrowd": 0}
