"""Opens photos of anyone's making: known formats within limits, and only where the data folder's json may point."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image, ImageOps

MAX_SIDE = 32_768
"""Pixels; a larger photo is a mistake in the json, and its mask would not fit into memory."""

MAX_PIXELS = 150_000_000
"""Of one photo: 0.45 GB when decoded. A file of a few bytes can claim any number of them."""

MAX_BYTES = 200_000_000
"""Of one photo's file."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What cameras and annotation tools write. PIL knows many more, one of which starts another program."""

EXIF_ORIENTATION = 274

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # PIL's; what is above ours is refused

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What is raised on broken photos and on those beyond the limits."""


@contextmanager
def open_photo(path: Path) -> Iterator[Image.Image]:
    """Open a photo without decoding it.

    Raises:
        ValueError: the file or the photo is beyond the limits.
        One of UNREADABLE: it is no photo.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"its file has {size / 1e6:.0f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB")
    with Image.open(path, formats=FORMATS) as image:
        if (pixels := image.width * image.height) > MAX_PIXELS:
            limit = f"the limit is {MAX_PIXELS / 1e6:.0f} million"
            raise ValueError(f"it has {image.width}x{image.height} = {pixels / 1e6:.0f} million pixels; {limit}")
        yield image


def upright(path: Path) -> Image.Image:
    """Decode a photo to RGB, turned as its EXIF orientation says.

    Raises:
        One of UNREADABLE: it is cut off, no photo, or beyond the limits. OpenCV would fill what is cut off with grey.
    """
    with open_photo(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def upright_size(path: Path) -> tuple[int, int]:
    """Return a photo's width and height in pixels, from its header alone.

    Raises:
        One of UNREADABLE, as far as the header shows.
    """
    with open_photo(path) as image:
        width, height = image.size
        lies = image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)  # stored on its side
        return (height, width) if lies else (width, height)


def name_fault(file_name: Any) -> str | None:
    """Say why a json's `file_name` is none of a photo inside the data folder, or None."""
    if not isinstance(file_name, str) or not file_name.isprintable() or not file_name:
        return f"needs a file_name, found {file_name!r:.80}"
    outside = ".." in PurePosixPath(file_name).parts or PurePosixPath(file_name).is_absolute()
    if outside or PureWindowsPath(file_name).anchor or "\\" in file_name:
        return f"has the file_name {file_name!r:.80}; it must be a path with / inside the data folder"
    if len(file_name.encode(errors="replace")) > 1000 or any(len(part) > 200 for part in file_name.split("/")):
        return f"has the file_name {file_name!r:.80}...; it is too long for a path"
    return None
