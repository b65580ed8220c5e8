"""Reads masks: pictures whose pixels say the class, by their value (grey, palette) or by their colour."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trainable.classes import Colour
from trainable.images.photo_files import open_photo

UNLISTED = 254
"""In place of a class index: of no class. Class indices are below, IGNORE_INDEX is above."""

SHOWN = 5
"""Values of no class that are told."""

SPREAD = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey values of 2 and 4 bits by."""


@dataclass(frozen=True)
class MaskTable:
    """What the pixels of masks mean: a class index, or IGNORE_INDEX."""

    values: tuple[tuple[int, int], ...]  # pixel value 0 to 65535, and what it means
    colours: tuple[tuple[Colour, int], ...] = ()  # colour, and what it means


@dataclass(frozen=True)
class MaskPixels:
    """A mask as its file has it: values, or colours."""

    values: NDArray[Any] | None  # (H, W) uint8 or uint16
    colours: NDArray[np.int32] | None = None  # (H, W) 0xRRGGBB
    palette: tuple[Colour, ...] = ()  # colour of each value

    def used(self) -> list[int]:
        """Return the values in it, in order; of a mask of colours that are all grey, those of its grey."""
        values = self.grey()
        return [] if values is None else np.flatnonzero(np.bincount(values.ravel())).tolist()

    def grey(self) -> NDArray[Any] | None:
        """Return the values (H, W), also of a grey picture that is kept as RGB; None where there are colours."""
        if self.values is not None or self.colours is None:
            return self.values
        low = self.colours & 255
        return low.astype(np.uint8) if (self.colours == low * 0x010101).all() else None


def read_pixels(path: Path) -> MaskPixels:
    """Decode a mask.

    Raises:
        One of UNREADABLE: it is no picture, beyond the limits, or of a kind that does not keep values.
    """
    with open_photo(path) as image:
        if image.format in ("JPEG", "MPO"):
            raise ValueError("it is a JPEG, which blurs values at edges; save masks as PNG")
        spread = SPREAD.get(_raw_mode(image), 1)
        upright = ImageOps.exif_transpose(image)
        mode, pixels = upright.mode, np.asarray(upright)
        if mode == "P" or mode == "PA":
            flat = upright.getpalette("RGB") or []
            palette = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=False))
            return MaskPixels(pixels if mode == "P" else pixels[:, :, 0], palette=palette)
    if mode == "1":
        return MaskPixels(pixels.astype(np.uint8))
    if mode == "L" or mode.startswith("I;16"):
        return MaskPixels(pixels // spread if spread > 1 else pixels)
    if mode == "LA":
        return MaskPixels(pixels[:, :, 0])
    if mode in ("RGB", "RGBA"):
        wide = pixels[:, :, :3].astype(np.int32)
        return MaskPixels(None, (wide[:, :, 0] << 16) | (wide[:, :, 1] << 8) | wide[:, :, 2])
    raise ValueError(f"its mode is {mode}; save masks as grey or palette PNG")


def read_mask(path: Path, table: MaskTable) -> NDArray[np.uint8]:
    """Return the class index of each pixel of a mask, uint8 (height, width), or IGNORE_INDEX.

    Raises:
        One of UNREADABLE: see `read_pixels`, or it holds a value or colour that the table does not have.
    """
    pixels = read_pixels(path)
    if pixels.colours is not None and table.colours:
        drawn = _by_colour(table.colours)[pixels.colours]
        if not (unlisted := drawn == UNLISTED).any():
            return drawn
        if pixels.grey() is None:
            found = [f"#{colour:06x}" for colour in np.unique(pixels.colours[unlisted])]
            raise ValueError(f"it holds {_told('colour', found)} of no class; list it, or mend the mask")
    values = pixels.grey()
    if values is None:
        raise ValueError("it is a picture of colours, and no class has one; list the classes' colours in classes.txt")
    meant = dict(table.values)
    used = pixels.used()
    if table.colours and pixels.palette:
        meant |= _by_palette(used, pixels.palette, dict(table.colours), meant)
    if unknown := [value for value in used if value not in meant]:
        listed = ", ".join(map(str, sorted(meant)[: 2 * SHOWN])) + (", ..." if len(meant) > 2 * SHOWN else "")
        raise ValueError(f"it holds {_told('value', unknown)} of no class; the classes have {listed}")
    return _lookup(meant.items(), 65536 if values.dtype.itemsize > 1 else 256)[values]


def _by_palette(used: list[int], palette: Any, colours: dict[Colour, int], meant: dict[int, int]) -> dict[int, int]:
    """Return what values mean by their colours in a palette, where all of them are colours of classes and differ.

    Raises:
        ValueError: a value is of one class, and its colour of another.
    """
    own = {value: colours.get(palette[value]) if value < len(palette) else None for value in used}
    if any(index is None for index in own.values()) or len({palette[value] for value in used}) < len(used):
        return {}
    for value, index in own.items():
        if meant.get(value, index) != index:
            colour = "#{:02x}{:02x}{:02x}".format(*palette[value])
            raise ValueError(
                f"its value {value} is one class and the colour {colour} that its palette gives it is another's; "
                "mend the list of classes, or save masks as grey PNG"
            )
    return {value: index for value, index in own.items() if index is not None}


def _told(what: str, found: list[Any]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"the {what}{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:SHOWN]))}{more}"


def _lookup(pairs: Iterable[tuple[int, int]], size: int) -> NDArray[np.uint8]:
    table = np.full(size, UNLISTED, np.uint8)
    for value, index in pairs:
        if 0 <= value < size:
            table[value] = index
    return table


@lru_cache(4)  # 16 MB each
def _by_colour(colours: tuple[tuple[Colour, int], ...]) -> NDArray[np.uint8]:
    return _lookup((((red << 16) | (green << 8) | blue, index) for (red, green, blue), index in colours), 1 << 24)


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
