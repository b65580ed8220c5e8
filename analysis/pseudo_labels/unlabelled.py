"""The photos to give pseudo labels: those of a folder that are whole, and neither labelled ones nor of their scenes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.prediction.photos_to_predict import names_to_predict
from trainable.dataset.cache import Cache
from trainable.dataset.scene_groups import same_scenes, scene_hashes
from trainable.images.photo_files import FORMATS, UNREADABLE, name_fault, photo_path, upright
from trainable.machine.cores import cpu_count


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
    names = list(names_to_predict(root))
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
