"""Opens photos of anyone's making: known formats within limits, and only where the data folder's json may point."""

import struct
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from trainable.images.file_kinds import mistaken
from trainable.images.photo_modes import Depth, mode_fault, stored_size, unknown_tiff

MAX_SIDE = 32_768
"""Pixels; a larger photo is a mistake in the json, and its mask would not fit into memory."""

MAX_PIXELS = 150_000_000
"""Of one photo: 0.45 GB when decoded. A file of a few bytes can claim any number of them."""

MAX_BYTES = 200_000_000
"""Of one photo's file."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What cameras and annotation tools write. PIL knows many more, one of which starts another program."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff")
"""How the names of such files end, in lower case."""

EXIF_ORIENTATION = 274

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # PIL's; what is above ours is refused

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What is raised on broken photos and on those beyond the limits."""


@dataclass(frozen=True)
class Header:
    """What a photo's file says before it is decoded."""

    width: int  # pixels, upright
    height: int
    turned: bool  # stored on its side: its EXIF orientation says so
    pages: bool  # it holds further pages or frames, which nothing reads


@contextmanager
def open_photo(path: Path) -> Iterator[Image.Image]:
    """Open a photo without decoding it.

    Raises:
        ValueError: the file or the photo is beyond the limits, or its pixels cannot be told from the file alone.
        One of UNREADABLE: it is no photo.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"its file has {size / 1e6:.0f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB")
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            fault = mistaken(file.read(512)) or unknown_tiff(path) or f"it is none of {', '.join(FORMATS)}"
        raise ValueError(fault) from None
    with image:
        if (pixels := image.width * image.height) > MAX_PIXELS:
            limit = f"the limit is {MAX_PIXELS / 1e6:.0f} million"
            raise ValueError(f"it has {image.width}x{image.height} = {pixels / 1e6:.0f} million pixels; {limit}")
        if unknown := mode_fault(image):
            raise ValueError(unknown)
        yield image


def upright(path: Path) -> Image.Image:
    """Decode a photo to 8-bit RGB, turned as its EXIF orientation says; of several pages or frames, the first.

    Raises:
        One of UNREADABLE: it is cut off, no photo, beyond the limits, or of samples whose range cannot be known.
            OpenCV would fill what is cut off with grey.
    """
    with open_photo(path) as image:
        depth = Depth.of(image)
        return depth.to_rgb(ImageOps.exif_transpose(image))


def read_header(path: Path) -> Header:
    """Look at a photo's header.

    Raises:
        One of UNREADABLE, as far as the header shows.
    """
    with open_photo(path) as image:
        width, height = stored_size(image)
        turned = image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)
        # Phones add previews and depth maps to a JPEG: its first picture is the photo.
        pages = bool(getattr(image, "is_animated", False)) and image.format not in ("JPEG", "MPO")
        return Header(height if turned else width, width if turned else height, turned, pages)


def upright_size(path: Path) -> tuple[int, int]:
    """Return a photo's width and height in pixels, from its header alone; raises as `read_header` does."""
    header = read_header(path)
    return header.width, header.height


def photo_path(root: Path, file_name: str) -> Path:
    """Return where a photo of a data folder is.

    macOS decomposes accents and Hangul in file names, a json or an archive may compose them: both name the same photo.
    """
    path = root / file_name
    if path.exists():
        return path
    forms = (root / unicodedata.normalize(form, file_name) for form in ("NFC", "NFD"))
    return next((form for form in forms if form.exists()), path)


def name_fault(file_name: Any) -> str | None:
    """Say why a json's `file_name` is none of a photo inside the data folder, or None."""
    if not isinstance(file_name, str) or not file_name:
        return f"needs a file_name, found {file_name!r:.80}"
    if has_control_characters(file_name):
        return f"needs a file_name, found {file_name!r:.80}; rename the photo without control characters"
    outside = ".." in PurePosixPath(file_name).parts or PurePosixPath(file_name).is_absolute()
    if outside or PureWindowsPath(file_name).anchor or "\\" in file_name:
        return f"has the file_name {file_name!r:.80}; it points out of the folder; it must be a path with / inside it"
    if len(file_name.encode(errors="replace")) > 1000 or any(len(part) > 200 for part in file_name.split("/")):
        return f"has the file_name {file_name!r:.80}...; it is too long for a path"
    return None


BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They change the order of what is printed after them, so that a name can pose as another."""


def has_control_characters(name: str) -> bool:
    """Tell whether a name holds characters that steer a terminal or end a line, or that are no text.

    Spaces of any width (macOS puts U+202F into the names of screenshots) and joiners are none of them.
    """
    return any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL for character in name
    )
