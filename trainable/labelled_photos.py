"""Photos with labels, as every reader of a data format gives them, and the masks that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_masks

from trainable.classes import COMPETITION, IGNORE_INDEX, Classes
from trainable.data_errors import DataError, Note, Problem
from trainable.geometry import NATIVE, OF_COMPETITION, Geometry
from trainable.images.mask_files import MaskTable, read_mask
from trainable.images.photo_files import UNREADABLE, upright

Rle = dict[str, Any]
"""Compressed run-length code, as pycocotools has it."""


@dataclass(frozen=True)
class Annotation:
    """One object: its class index and its pixels."""

    class_index: int
    rle: Rle
    ignore: bool = False  # its pixels are of no known class

    @property
    def area(self) -> int:
        """Pixels that it covers when drawn; what a json gives as `area` is often that of the box, or 0."""
        return int(rle_masks.area(self.rle))


@dataclass(frozen=True)
class MaskFile:
    """A picture of a photo's labels, and what its pixels mean."""

    path: Path
    table: MaskTable


class MaskError(ValueError):
    """A photo's mask file cannot be used; the text names the photo."""


@dataclass(frozen=True)
class Photo:
    """One photo and its annotations, or its mask file.

    `file_name` is its name everywhere: ids differ between the json files.
    """

    file_name: str
    path: Path
    height: int  # pixels
    width: int  # pixels
    annotations: tuple[Annotation, ...]
    confidence: Path | None = None  # grey picture of how sure each pixel's label is, 255 is certain
    mask: MaskFile | None = None  # in place of annotations
    uncovered: int = 0  # class index of what no annotation covers, or IGNORE_INDEX


@dataclass(frozen=True)
class Dataset:
    """The annotated photos of a data folder, and all that was found wrong with them."""

    root: Path
    photos: tuple[Photo, ...]
    problems: tuple[Problem, ...]
    json_hash: str  # sha256 over the files of labels, and over classes that are not the competition's
    notes: tuple[Note, ...] = ()  # what was mended or left out of photos that are kept
    classes: Classes = COMPETITION
    format: str = "COCO"  # what the folder was read as, in words
    given: Mapping[str, str] = field(default_factory=dict)  # by file name, `train` or `val`, where the data says it


def check(dataset: Dataset, skip_bad: bool = False) -> Dataset:
    """Return the data set if nothing is wrong with it, or, with `skip_bad`, without its bad photos.

    Raises:
        DataError: there are problems; with `skip_bad`, only if some are not about single photos, or no photo is left.
    """
    if not dataset.problems:
        return dataset
    bad = {problem.file_name for problem in dataset.problems}
    good = tuple(photo for photo in dataset.photos if photo.file_name not in bad)
    if not skip_bad or None in bad or not good:
        raise DataError(dataset.root, dataset.problems, skipping=skip_bad)
    return replace(dataset, photos=good)


def geometry_of(dataset: Dataset, aspect: float | None = None, score_size: str | None = None) -> Geometry:
    """Return the frames that suit a data set's usable photos.

    Args:
        dataset: as read.
        aspect: of a network's frame; None is the one that the photos have in common.
        score_size: see `score_geometry`; None is the competition's for its classes, else the photos' own size.

    Raises:
        ValueError: `score_size` is no size.
    """
    bad = {problem.file_name for problem in dataset.problems}
    sizes = [(photo.height, photo.width) for photo in dataset.photos if photo.file_name not in bad]
    default = OF_COMPETITION if dataset.classes.names == COMPETITION.names else NATIVE
    # Without a usable photo there is no aspect either.
    return Geometry.of(sizes, aspect if sizes or aspect is not None else 0.0, score_size or default)


def decode(photo: Photo) -> tuple[Image.Image, NDArray[np.uint8]] | Problem:
    """Return a photo as it is seen and its mask (H, W), or what is wrong with either."""
    try:
        image = upright(photo.path)
    except UNREADABLE as error:
        return undecodable(photo, error)
    try:
        return image, draw_mask(photo)
    except MaskError as error:
        return Problem(photo.file_name, str(error))


def undecodable(photo: Photo, error: Exception) -> Problem:
    """Return the problem of a photo, or of its confidences, that cannot be decoded."""
    return Problem(photo.file_name, f"photo {photo.file_name} cannot be decoded ({error}); replace it")


def draw_mask(photo: Photo) -> NDArray[np.uint8]:
    """Draw the class index of each pixel, uint8 (height, width), as the competition's own loader does; or IGNORE_INDEX.

    Larger annotations are drawn first and smaller ones over them (painter's order, ties in file order), rasterised by
    pycocotools: `cv2.fillPoly` gives other edges. An annotation is as large as what it covers: the json's `area` is
    that of the box in some tools' files, or 0, and where it is right the order is the same. A mask file is read now.

    Raises:
        MaskError: the mask file cannot be read, is of another size, or holds a value of no class.
    """
    if photo.mask:
        return _read(photo, photo.mask)
    mask = np.full((photo.height, photo.width), photo.uncovered, np.uint8)
    for annotation in sorted(photo.annotations, key=lambda annotation: annotation.area, reverse=True):
        mask[rle_masks.decode(annotation.rle) == 1] = IGNORE_INDEX if annotation.ignore else annotation.class_index
    return mask


def _read(photo: Photo, file: MaskFile) -> NDArray[np.uint8]:
    try:
        mask = read_mask(file.path, file.table)
    except UNREADABLE as error:
        raise MaskError(f"the mask of {photo.file_name}, {file.path.name}, cannot be used: {error}") from None
    if mask.shape != (photo.height, photo.width):
        size = f"{mask.shape[1]}x{mask.shape[0]}"
        raise MaskError(f"photo {photo.file_name} is {photo.width}x{photo.height}, its mask {size}; mend one of them")
    return mask
