"""Masks as pictures: PNG files whose pixels are class indices and whose palette gives them the classes' colours."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainable.classes import Classes
from trainable.images.photo_files import MAX_PIXELS

IGNORED_COLOUR = (255, 255, 255)
"""Of pixels that are of no class."""


def colours(classes: Classes) -> NDArray[np.uint8]:
    """Return the colour of each value of a mask, (256, 3): of each class, and white for what is ignored."""
    table = np.full((256, 3), IGNORED_COLOUR, np.uint8)
    table[: len(classes)] = classes.colours
    return table


def write_mask(path: Path, mask: NDArray[np.uint8], classes: Classes) -> None:
    """Write a mask (H, W) of class indices."""
    write_picture(path, mask, [part for colour in classes.colours for part in colour])


def write_picture(path: Path, mask: NDArray[np.uint8], palette: Sequence[int]) -> None:
    """Write a mask (H, W) with a palette: red, green and blue of each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask, "P")
    image.putpalette(list(palette))
    image.save(path)


def read_mask(path: Path) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Return the class indices (H, W) of a picture that `write_mask` has written, and its palette as it is stored.

    Raises:
        ValueError: it is none.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode != "P" or image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{path} has the mode {image.mode}; a mask is a PNG with a palette")
            return np.asarray(image, np.uint8), tuple(image.getpalette() or ())
    except (OSError, SyntaxError, EOFError, UnidentifiedImageError) as error:
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
