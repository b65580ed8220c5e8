"""Pictures of a data set's photos and masks, shrunk, as html."""

import base64
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from analysis.reporting.page import text
from trainable.classes import IGNORE_INDEX, Classes
from trainable.data_facts.facts import DataFacts
from trainable.images.photo_files import UNREADABLE, upright
from trainable.images.resampling import resize_mask, resize_photo
from trainable.labelled_photos import Photo, draw_mask

LARGEST = 360
"""Pixels of the longer side of a picture: the page holds them all."""

STRIPES = 4
"""Pixels of a stripe of what is ignored: stripes are no class's colour."""

STRIPED = "repeating-linear-gradient(135deg,#fff 0 3px,#aaa 3px 6px)"


def samples(facts: DataFacts, count: int) -> list[int]:
    """Return the positions of photos that show all classes between them, the rarest first, then of most classes."""
    chosen: list[int] = []
    rarity = [index for index in np.argsort(facts.photos_with, kind="stable") if facts.photos_with[index]]
    varied = (facts.class_pixels > 0).sum(axis=1)
    shares = facts.class_pixels / np.maximum(facts.photo_sizes.prod(axis=1), 1)[:, None]
    for index in rarity:
        if not (facts.class_pixels[chosen, index] > 0).any() and len(chosen) < count:
            chosen.append(int(shares[:, index].argmax()))
    rest = [int(at) for at in np.argsort(-varied, kind="stable") if at not in set(chosen)]
    apart = rest[:: max(len(rest) // max(2 * count, 1), 1)]  # neighbours by name are often of one scene
    return (chosen + apart)[:count]


def with_masks(facts: DataFacts, positions: Iterable[int]) -> str:
    """Return photos, each beside its mask in colours."""
    return _gallery(
        (f"{photo_image(photo)}{_mask_image(photo, facts.classes)}", _caption(facts, at), 2)
        for at, photo in ((at, photo_of(facts, at)) for at in positions)
    )


def pairs(facts: DataFacts, shown: Iterable[tuple[int, int]]) -> str:
    """Return photos that train beside those that validate and look like them."""
    return _gallery(
        (
            "".join(photo_image(photo_of(facts, at)) for at in pair),
            f"{' trains, '.join(text(facts.file_names[at]) for at in pair)} validates",
            2,
        )
        for pair in shown
    )


def thumbnails(facts: DataFacts, positions: Sequence[int]) -> str:
    """Return photos in a row, three to a card."""
    rows = [positions[start : start + 3] for start in range(0, len(positions), 3)]
    return _gallery(
        (
            "".join(photo_image(photo_of(facts, at)) for at in row),
            ", ".join(text(facts.file_names[at]) for at in row),
            3,
        )
        for row in rows
    )


def legend(classes: Classes, ignored: bool) -> str:
    """Return the classes' colours, and the stripes of what is ignored where there is some."""
    named = "".join(
        f'<span><i style="background:rgb{colour}"></i>{text(name)}</span>'
        for name, colour in zip(classes.names, classes.colours, strict=True)
    )
    striped = f'<span><i style="background:{STRIPED}"></i>(ignored)</span>' if ignored else ""
    return f'<div class="legend">{named}{striped}</div>'


def photo_of(facts: DataFacts, position: int) -> Photo:
    """Return the photo at a position of the facts."""
    return facts.photo_by_name[facts.file_names[position]]


def photo_image(photo: Photo) -> str:
    """Return a photo as html; what has become unreadable since it was looked at is told in its place."""
    try:
        pixels = np.asarray(upright(photo.path))
    except UNREADABLE as error:
        return f"<small>{text(error)}</small>"
    return _image(".jpg", resize_photo(pixels, *_shrunk(pixels)), f"photo {photo.file_name}")


def _mask_image(photo: Photo, classes: Classes) -> str:
    try:
        mask = draw_mask(photo)
    except (ValueError, OSError) as error:
        return f"<small>{text(error)}</small>"
    return _image(".png", coloured(resize_mask(mask, *_shrunk(mask)), classes), f"mask of {photo.file_name}")


def coloured(mask: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3) of a mask (H, W), stripes where it is ignored."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(classes)] = classes.colours
    rows, columns = np.indices(mask.shape)
    stripes = np.where((rows + columns) // STRIPES % 2 == 0, 255, 170).astype(np.uint8)
    return np.where((mask == IGNORE_INDEX)[:, :, None], stripes[:, :, None], table[mask])


def _caption(facts: DataFacts, position: int) -> str:
    height, width = facts.photo_sizes[position]
    split = facts.dataset.given.get(facts.file_names[position])
    return f"<b>{text(facts.file_names[position])}</b> {width}x{height}{f', {split}' if split else ''}"


def _gallery(cards: Iterable[tuple[str, str, int]]) -> str:
    """Return cards of (pictures, caption, columns)."""
    shown = "".join(
        f'<figure class="photo"><div style="grid-template-columns:repeat({columns},1fr);align-items:start">{images}'
        f"</div><figcaption>{caption}</figcaption></figure>"
        for images, caption, columns in cards
    )
    return f'<div class="gallery">{shown}</div>'


def _shrunk(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    scale = min(LARGEST / max(height, width), 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _image(kind: str, pixels: NDArray[np.uint8], what: str) -> str:
    height, width = pixels.shape[:2]
    options = [cv2.IMWRITE_JPEG_QUALITY, 80] if kind == ".jpg" else []
    content = cv2.imencode(kind, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    media = "jpeg" if kind == ".jpg" else "png"
    return (
        f'<img src="data:image/{media};base64,{base64.b64encode(content).decode()}" alt="{text(what)}" width="{width}" '
        f'height="{height}" loading="lazy" style="aspect-ratio:auto">'
    )
