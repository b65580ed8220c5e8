"""The photos to give pseudo labels: those of a folder that are whole, and neither labelled ones nor of their scenes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.coco.json_file import listed_names
from trainable.dataset.cache import Cache
from trainable.dataset.scene_groups import same_scenes, scene_hashes
from trainable.images.photo_files import FORMATS, SUFFIXES, UNREADABLE, name_fault, photo_path, upright
from trainable.machine.cores import cpu_count

OTHER_SUFFIXES = (".heic", ".heif", ".hif", ".avif", ".gif", ".jp2", ".j2k", ".jxl")
"""How names of photos end that are of other formats: they are told of, and read where they only are named so."""


@dataclass(frozen=True)
class Unlabelled:
    """One photo without labels."""

    file_name: str
    path: Path
    height: int  # pixels, upright
    width: int


@dataclass(frozen=True)
class Found:
    """The photos to label, and those left out: why, by file name."""

    photos: tuple[Unlabelled, ...]
    labelled: dict[str, str]  # the labelled photo that it is, or whose scene it shows
    unreadable: dict[str, str]  # what is wrong with it


def find_unlabelled(root: Path, labelled: Cache) -> Found:
    """Return the photos of `test.json` in a folder or, where there is none, all photos in it and below.

    Args:
        root: the folder.
        labelled: the photos that must not come back as training photos. A file of the same bytes has the same
            perceptual hash.

    Raises:
        ValueError: no such folder, a damaged test.json, or no photo is left.
    """
    names = list(_names(root))
    with ThreadPoolExecutor(cpu_count()) as pool:
        looked = list(pool.map(lambda name: _look(root, name), names))
    unreadable = {name: fault for name, fault in zip(names, looked, strict=True) if isinstance(fault, str)}
    whole = [pair for pair in looked if not isinstance(pair, str)]
    hashes = np.array([pair[1] for pair in whole]).reshape(-1, 8)
    same = same_scenes(hashes, labelled.scene_hashes)
    matches = {
        photo.file_name: labelled.file_names[other] for (photo, _), other in zip(whole, same, strict=True) if other >= 0
    }
    photos = tuple(photo for photo, _ in whole if photo.file_name not in matches)
    if not photos:
        raise ValueError(
            f"{root} has no photo to label: of {len(names)}, {len(matches)} are labelled ones or of their scenes and "
            f"{len(unreadable)} cannot be read{_example(unreadable)}; photos are files of {', '.join(FORMATS)}"
        )
    return Found(photos, matches, unreadable)


def _example(unreadable: dict[str, str]) -> str:
    return next((f", such as {name} ({why})" for name, why in unreadable.items()), "")


def _names(root: Path) -> Iterator[str]:
    if not root.is_dir():
        why = f"is a file; name the folder that holds it, {root.parent}" if root.exists() else "does not exist"
        raise ValueError(f"--data {root} {why}; name a folder with test.json, or of photos")
    listing = root / "test.json"
    if listing.exists():
        yield from dict.fromkeys(listed_names(listing))
    else:
        paths = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES + OTHER_SUFFIXES)
        # Hidden files with the names of photos are what macOS and notebooks keep beside them.
        visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
        yield from sorted(path.as_posix() for path in visible)


def _look(root: Path, name: str) -> tuple[Unlabelled, NDArray[np.uint64]] | str:
    """Return a photo with its perceptual hashes, or why it cannot be read."""
    if fault := name_fault(name):
        return f"its entry {fault}"
    path = photo_path(root, name)
    try:
        pixels = np.asarray(upright(path))
    except FileNotFoundError:
        return "it does not exist"
    except UNREADABLE as error:
        return str(error)
    height, width = pixels.shape[:2]
    return Unlabelled(name, path, height, width), scene_hashes(Image.fromarray(pixels))
