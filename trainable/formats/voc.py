"""PASCAL VOC (Everingham et al. 2010): JPEGImages/, SegmentationClass/ and lists in ImageSets/Segmentation/."""

from pathlib import Path, PurePosixPath

from trainable.classes import Classes, Colour
from trainable.data_errors import Note, Problem
from trainable.formats.class_list import Named
from trainable.formats.data_format import DataFormat, fail, photos_below, subfolders
from trainable.formats.mask_folders import ALONE, class_names
from trainable.formats.mask_photos import MaskData, Pair, one_mask_each, read_masks
from trainable.images.photo_files import name_fault
from trainable.labelled_photos import Dataset

PHOTOS = ("jpegimages", "images")
MASKS = ("segmentationclass",)
PNG_MASKS = ("segmentationclasspng",)
"""Of labelme, which keeps arrays of numpy in SegmentationClass."""

LISTS = "ImageSets/Segmentation"
GIVEN = {"train": "train", "val": "val", "test": "test"}

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Of the challenge, by value; 255 is the border of an object."""

ITS_OWN = "class names taken from PASCAL VOC, as the folder lists none (class_names.txt, one name a line)"
UNLISTED = "photos with a mask that no list in ImageSets/Segmentation names, used with the others"


def palette_colour(value: int) -> Colour:
    """Return the colour that VOC gives a value: its bits, three by three, from the highest bit of each channel on."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (value & 1) << shift
        green |= (value >> 1 & 1) << shift
        blue |= (value >> 2 & 1) << shift
        value >>= 3
    return red, green, blue


def _mask_folder(root: Path) -> str | None:
    folders = subfolders(root, PNG_MASKS) or subfolders(root, MASKS)
    return folders[0] if folders else None


def recognise(root: Path) -> str | None:
    """Return its folders of photos and masks, where both are there."""
    photos, masks = subfolders(root, PHOTOS), _mask_folder(root)
    return f"{photos[0]}/ and {masks}/" if photos and masks else None


def _listed(root: Path) -> dict[str, str]:
    """Return the split of each name that the lists have: `train`, `val` or `test`.

    Raises:
        DataError: a list is damaged, or has a name that another has.
    """
    found: dict[str, str] = {}
    for stem, split in GIVEN.items():
        path = root / LISTS / f"{stem}.txt"
        if not path.is_file():
            continue
        try:
            names = path.read_text("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise fail(root, f"{LISTS}/{path.name} is not text in UTF-8 ({error}); save it as UTF-8") from None
        for name in filter(None, map(str.strip, names)):
            if name_fault(name):
                raise fail(root, f"{LISTS}/{path.name}: a photo {name_fault(name)}")
            if found.setdefault(name, split) != split:
                raise fail(root, f"{LISTS}: {name} is in {found[name]}.txt and in {split}.txt; keep one")
    return found


def read(root: Path, classes: Classes | None) -> Dataset:
    """Pair masks and photos by their names; photos without a mask that no list names are not labelled.

    Raises:
        DataError: no photo has a mask, or a list is damaged.
    """
    folder, photo_folder = _mask_folder(root) or "", subfolders(root, PHOTOS)[0]
    listed, named = class_names(root)
    splits = _listed(root)
    photos = {_stem(name, photo_folder): name for name in photos_below(root, photo_folder)}
    masks = {_stem(name, folder): name for name in photos_below(root, folder)}
    lists = tuple(f"{LISTS}/{stem}.txt" for stem in GIVEN if (root / LISTS / f"{stem}.txt").is_file())
    own = [Named(value, name, palette_colour(value)) for value, name in enumerate(NAMES)]
    told = listed or "the names of PASCAL VOC"
    data = MaskData(
        root,
        [],
        f"PASCAL VOC ({photo_folder}/, {folder}/, {told})",
        named or own,
        (*lists, *([listed] if listed else [])),
    )
    if not listed:
        data.notes.append(Note(ITS_OWN, ", ".join(NAMES[:4]) + ", ..."))
    for stem, mask in masks.items():
        split = splits.get(stem)
        if split == "test":
            continue
        if stem not in photos:
            data.notes.append(Note(ALONE, mask))
            continue
        if splits and split is None:
            data.notes.append(Note(UNLISTED, photos[stem]))
        data.pairs.append(Pair(photos[stem], mask, split))
    for stem, split in splits.items():
        if split != "test" and stem not in masks:
            name = photos.get(stem, stem)
            text = f"photo {name} is in {LISTS}/{split}.txt and has no mask in {folder}/; add it, or unlist the photo"
            data.problems.append(Problem(name, text))
    one_mask_each(data)
    return read_masks(data, classes)


def _stem(name: str, folder: str) -> str:
    return PurePosixPath(name).relative_to(folder).with_suffix("").as_posix()


def test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos that ImageSets/Segmentation/test.txt names and that are there."""
    folder = subfolders(root, PHOTOS)[0]
    photos = {_stem(name, folder): name for name in photos_below(root, folder)}
    return tuple(photos[stem] for stem, split in _listed(root).items() if split == "test" and stem in photos)


VOC = DataFormat("PASCAL VOC", "JPEGImages/ and SegmentationClass/", recognise, read, test_photos)
