"""Photos as the networks see them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.images.photo_files import UNREADABLE, upright

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
