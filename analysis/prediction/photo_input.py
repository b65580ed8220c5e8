"""Photos as the networks see them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.geometry import Geometry
from trainable.images.photo_files import UNREADABLE, upright
from trainable.images.resampling import padded, resize_photo

Photo = NDArray[np.uint8]
"""RGB, (H, W, 3)."""


class UnreadablePhotoError(ValueError):
    """A photo cannot be decoded."""


def read_photo(path: Path) -> Photo:
    """Decode a photo, upright.

    Raises:
        UnreadablePhotoError: it is missing, cut off, no photo, or larger than we decode.
    """
    try:
        return np.asarray(upright(path))
    except UNREADABLE as error:
        raise UnreadablePhotoError(f"photo {path} cannot be decoded ({error}); replace it") from error


def in_frame(photo: Photo, image_size: int, geometry: Geometry) -> Photo:
    """Return a photo in the frame of networks at an image size, as a cache holds it."""
    frame = geometry.frame(image_size)
    return padded(resize_photo(photo, *geometry.content((photo.shape[0], photo.shape[1]), frame)), frame)


def as_scored(photo: Photo, geometry: Geometry) -> Photo:
    """Return a photo as large as it is scored, without padding."""
    return resize_photo(photo, *geometry.scored((photo.shape[0], photo.shape[1])))
