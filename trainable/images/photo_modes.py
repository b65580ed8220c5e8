"""Brings the samples of a photo to 8-bit RGB, or says why they cannot be: by mode, depth, sign, planes and polarity.

Pillow's `convert("RGB")` clips what has more than 8 bits, drops the range of floats and gives some files other pixels
than they hold, all of it silently. What a file does not tell is refused here rather than guessed.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
SUBFILE, PLANES, SUBSAMPLING, SAMPLE_FORMAT = 254, 284, 530, 339
"""Tags of TIFF 6.0."""

WHITE_IS_ZERO, SEPARATE, UNCOMPRESSED, PREVIEW = 0, 2, 1, 1
SIGNED, KINDS = 2, {1: "unsigned", 2: "signed", 3: "float", 4: "untyped"}

DARKEST = 16
"""Of 256: 16-bit samples that stay there or below are of 12 bits or fewer, kept in 16, and would decode to black."""

SAVE = "save it as 8-bit RGB"


@dataclass(frozen=True)
class Depth:
    """How to bring a photo's samples to 8 bits; read before it is decoded, which forgets some of it."""

    mode: str
    top: int  # the largest value of a sample in a grey photo of more than 8 bits
    white_is_zero: bool
    deep: bool  # stored with 16 bits

    @classmethod
    def of(cls, image: Image.Image) -> "Depth":
        """Read it from a photo that is open and not yet decoded."""
        tags = _tags(image)
        top = 4095 if _first(tags, BITS) == 12 else 65535
        deep = top == 65535 and any(";16" in _raw_mode(tile) for tile in getattr(image, "tile", ()))
        deep = deep and image.format in ("PNG", "TIFF")  # of a BMP, 16 are the bits of a pixel
        return cls(image.mode, top, _first(tags, PHOTOMETRIC) == WHITE_IS_ZERO, deep)

    def to_rgb(self, image: Image.Image) -> Image.Image:
        """Return the decoded photo as 8-bit RGB.

        Raises:
            ValueError: its samples fill so little of their 16 bits that they must be of fewer.
        """
        if self.mode.startswith("I;16"):
            ramp = np.arange(self.top + 1)
            eight = np.full(65536, 255, np.uint8)
            eight[: self.top + 1] = np.round((ramp[::-1] if self.white_is_zero else ramp) * (255 / self.top))
            image = Image.fromarray(eight[np.asarray(image)])
        elif self.mode == "La":  # grey with alpha, premultiplied: only its sister can be converted
            image = image.convert("LA")
        rgb = image.convert("RGB")
        if self.deep and np.asarray(rgb).max() <= DARKEST:
            raise ValueError(
                f"its mode is {self.mode} with 16 bits a sample, of which it uses the lowest only, as 12-bit cameras "
                f"do: it would be black; {SAVE}, scaled to its own range"
            )
        return rgb


def mode_fault(image: Image.Image) -> str | None:
    """Say why the pixels of an open photo cannot be known from its file, or None; nothing is decoded."""
    tags = _tags(image)
    if image.mode in ("I", "F") or _first(tags, SAMPLE_FORMAT) == SIGNED:
        bits, kind = _first(tags, BITS) or 32, KINDS.get(_first(tags, SAMPLE_FORMAT) or 1)
        return f"its mode is {image.mode} ({bits}-bit {kind} samples), whose range is not known; {SAVE}"
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return f"its mode is CMYK without Adobe's marker: whether 0 is no ink or all cannot be known; {SAVE}"
    if _first(tags, PLANES) == SEPARATE and _first(tags, COMPRESSION) == UNCOMPRESSED and _first(tags, BITS) == 16:
        return f"its mode is {image.mode} with 16 bits a sample, in separate planes without compression; {SAVE}"
    subsampling = tuple(tags.get(SUBSAMPLING) or (2, 2))
    if image.mode == "YCbCr" and tags and _first(tags, COMPRESSION) == UNCOMPRESSED and subsampling != (1, 1):
        return f"its mode is YCbCr with colours of a lower resolution, without compression; {SAVE}"
    if (_first(tags, SUBFILE) or 0) & PREVIEW:
        return f"its first page is a preview (mode {image.mode}), the photo itself is behind it; {SAVE}"
    return None


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return an open photo's width and height in pixels as stored; Pillow turns that of a TIFF beforehand."""
    tags = _tags(image)
    return (int(tags[WIDTH]), int(tags[HEIGHT])) if tags else image.size


def unknown_tiff(path: Path) -> str | None:
    """Say of what mode a file is that is a TIFF that Pillow cannot decode; None if it is no TIFF."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return None
        tags = ImageFileDirectory_v2(head)
        try:
            file.seek(tags.next)
            tags.load(file)
            count, bits = _first(tags, SAMPLES) or 1, _first(tags, BITS) or 1
            kind = KINDS.get(_first(tags, SAMPLE_FORMAT) or 1, "unknown")
        except (OSError, ValueError, KeyError, TypeError, SyntaxError, struct.error) as error:
            return f"it is a damaged TIFF ({error})"
    return f"it is a TIFF of a mode that cannot be decoded: {count} x {bits}-bit {kind} samples a pixel; {SAVE}"


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _tags(image: Image.Image) -> Any:
    """Return the tags of a TIFF, of another format none."""
    return image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]


def _first(tags: Any, tag: int) -> int | None:
    value = tags.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None
