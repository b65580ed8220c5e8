"""Masks as pictures: PNG files whose pixels are class indices and whose palette gives them the classes' colours."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from trainable.classes import Classes
from trainable.images.photo_files import MAX_PIXELS, UNREADABLE

NAMES = "classes"
"""Of the text in a mask's file that has the names of its classes."""

IGNORED_COLOUR = (255, 255, 255)
"""Of pixels that are of no class."""


def colours(classes: Classes) -> NDArray[np.uint8]:
    """Return the colour of each value of a mask, (256, 3): of each class, and white for what is ignored."""
    table = np.full((256, 3), IGNORED_COLOUR, np.uint8)
    table[: len(classes)] = classes.colours
    return table


@dataclass(frozen=True)
class Table:
    """What a mask's file says of its classes: two files with equal tables are of the same classes."""

    palette: tuple[int, ...]  # red, green and blue of each class
    names: str  # with commas between; empty in files of other programs

    @classmethod
    def of(cls, classes: Classes) -> "Table":
        """Return the table of some classes."""
        return cls(tuple(part for colour in classes.colours for part in colour), ",".join(classes.names))


def write_mask(path: Path, mask: NDArray[np.uint8], table: Table) -> None:
    """Write a mask (H, W) of class indices, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image, more = Image.fromarray(mask, "P"), PngInfo()
    image.putpalette(list(table.palette))
    more.add_itxt(NAMES, table.names)
    image.save(path, pnginfo=more)


def read_mask(path: Path) -> tuple[NDArray[np.uint8], Table]:
    """Return the class indices (H, W) of a picture that `write_mask` has written, and its table.

    Raises:
        ValueError: it is none.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode != "P" or image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it is {image.width}x{image.height} of mode {image.mode}, not P for palette")
            mask = np.asarray(image, np.uint8)
            names = getattr(image, "text", {}).get(NAMES, "")
            return mask, Table(tuple(image.getpalette() or ()), str(names))
    except UNREADABLE as error:
        raise ValueError(f"mask {path} cannot be read ({error}); write it again") from error


def mask_name(photo: str) -> Path:
    """Return the name of a photo's mask in a folder of masks: the photo's own, folders kept, with .png."""
    return Path(photo).with_suffix(".png")


def check_mask_places(folder: Path, data: Path, photos: Iterable[str]) -> None:
    """See that masks overwrite neither each other nor photos.

    Args:
        folder: of the masks.
        data: folder of the photos.
        photos: their names.

    Raises:
        ValueError: they would: which.
    """
    of_mask: dict[Path, str] = {}
    for name in photos:
        if (other := of_mask.setdefault(mask_name(name), name)) != name:
            raise ValueError(f"photos {other} and {name} would have one mask, {mask_name(name)}: rename one of them")
        if (folder / mask_name(name)).resolve() == (data / name).resolve():
            raise ValueError(f"--masks {folder} would overwrite the photo {name}; name another folder")
