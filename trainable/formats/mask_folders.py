"""Masks in a folder of their own: images/ and masks/, with folders train/ and val/ in them, around them, or none."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainable.classes import Classes
from trainable.data_errors import Note, Problem
from trainable.formats.class_list import ListError, Named, find_class_list, read_class_list
from trainable.formats.data_format import (
    TEST,
    DataFormat,
    fail,
    has_pictures,
    photos_below,
    split_folders,
    split_of,
    subfolders,
)
from trainable.formats.mask_photos import MaskData, Pair, one_mask_each, read_masks
from trainable.labelled_photos import Dataset

PHOTOS = ("images", "image", "imgs", "img", "photos", "jpegimages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "labelmaps", "gt")
BESIDE = ("annot", "_labels", "_label", "_masks", "_mask")
"""What the name of a folder of masks has behind that of its photos: train/ and trainannot/, train_labels/."""

ENDINGS = ("", "_mask", "-mask", "_masks", "_label", "_labels", "_labelids", "_gt", "_seg", "_segmentation", "_l", "_p")
"""What the name of a mask may have behind its photo's."""

ALONE = "masks without a photo, left out"


@dataclass(frozen=True)
class _Folders:
    """Where photos and their masks are, from the data folder on."""

    photos: str
    masks: str
    split: str | None  # where the folders themselves are of one


def _found(root: Path) -> list[_Folders]:
    """Return the folders that hold photos and masks."""
    found = [_Folders(photos, masks, None) for photos, masks in _both(root, "")]
    splits = split_folders(root)
    for folder, split in splits.items():
        found += [_Folders(photos, masks, split) for photos, masks in _both(root, folder)]
        for masks in subfolders(root, [folder.lower() + ending for ending in BESIDE]):
            found.append(_Folders(folder, masks, split))
    return [each for each in found if has_pictures(root, each.photos) and has_pictures(root, each.masks)]


def _both(root: Path, folder: str) -> list[tuple[str, str]]:
    at = f"{folder}/" if folder else ""
    photos, masks = subfolders(root / folder, PHOTOS), subfolders(root / folder, MASKS)
    masks = [name for name in masks if has_pictures(root, at + name)]
    return [(at + photo, at + mask) for photo in photos for mask in masks]


def recognise(root: Path) -> str | None:
    """Return the folders of photos and masks."""
    return ", ".join(f"{each.photos}/ and {each.masks}/" for each in _found(root)) or None


def read(root: Path, classes: Classes | None) -> Dataset:
    """Pair photos and masks by their names; a photo for training without a mask is a problem.

    Raises:
        DataError: it cannot be known which folder is which, or which classes there are.
    """
    found = _found(root)
    photo_folders = [each.photos for each in found]
    if len(set(photo_folders)) < len(photo_folders):
        masks = " and ".join(f"{each.masks}/" for each in found)
        raise fail(root, f"{masks} may all hold the masks; move the others out of the folder")
    listed, named = class_names(root)
    told = f"{listed}" if listed else "no list of classes"
    data = MaskData(root, [], f"mask folders ({recognise(root)}, {told})", named, (listed,) if listed else ())
    for folders in found:
        _pair(data, folders)
    if not data.pairs and data.problems:
        raise fail(root, _nothing(root, found))
    one_mask_each(data)
    return read_masks(data, classes)


def class_names(root: Path) -> tuple[str | None, list[Named] | None]:
    """Return the name and content of a folder's list of classes; None where there is none.

    Raises:
        DataError: there are several, or it is damaged.
    """
    try:
        listed = find_class_list(root)
        return listed, read_class_list(root / listed) if listed else None
    except ListError as error:
        raise fail(root, str(error)) from None


def _pair(data: MaskData, folders: _Folders) -> None:
    masks = _by_stem(data.root, folders.masks)
    taken = set()
    for name in photos_below(data.root, folders.photos):
        inside = PurePosixPath(name).relative_to(folders.photos)
        split = folders.split or _inside(inside)
        if split == TEST:
            continue
        stem = inside.with_suffix("").as_posix().lower()
        bare = inside.stem.lower()  # in a folder of masks that has no folders for train and val
        own = [masks[each + ending] for each in (stem, bare) for ending in ENDINGS if each + ending in masks]
        if not own:
            text = f"photo {name} has no mask in {folders.masks}/; add one called as it is, or remove the photo"
            data.problems.append(Problem(name, text))
            continue
        taken.add(own[0])
        data.pairs.append(Pair(name, own[0], split))
    for mask in masks.values():
        if mask not in taken:
            split = folders.split or _inside(PurePosixPath(mask).relative_to(folders.masks))
            if split != TEST:
                data.notes.append(Note(ALONE, mask))


def _inside(path: PurePosixPath) -> str | None:
    return split_of(path.parts[0]) if len(path.parts) > 1 else None


def _by_stem(root: Path, folder: str) -> dict[str, str]:
    """Return masks by their name without its ending, from their folder on, in lower case; PNG first of several."""
    names = sorted(photos_below(root, folder), key=lambda name: not name.lower().endswith(".png"))
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(PurePosixPath(name).relative_to(folder).with_suffix("").as_posix().lower(), name)
    return found


def _nothing(root: Path, found: list[_Folders]) -> str:
    first = found[0]
    photo, mask = photos_below(root, first.photos)[0], photos_below(root, first.masks)[0]
    return f"no mask has the name of a photo: there are {photo} and {mask}; a photo's mask is called as it is"


def test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos in folders called test, with or without a mask."""
    names = []
    for folder in subfolders(root, PHOTOS):
        tests = [own for own, split in split_folders(root / folder).items() if split == TEST]
        names += [name for own in tests for name in photos_below(root, f"{folder}/{own}")]
    for folder, split in split_folders(root).items() if not names else ():
        if split == TEST:
            inner = subfolders(root / folder, PHOTOS)
            for own in [f"{folder}/{name}" for name in inner] or [folder]:
                names += photos_below(root, own)
    return tuple(dict.fromkeys(names))


MASK_FOLDERS = DataFormat(
    "mask folders", "images/ and masks/, or train/ and train_masks/", recognise, read, test_photos
)
