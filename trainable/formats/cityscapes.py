"""Cityscapes (Cordts et al. 2016): leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, gtFine/.../NAME_gtFine_labelIds.png."""

from pathlib import Path

from trainable.classes import Classes, Colour
from trainable.data_errors import Note, Problem
from trainable.formats.class_list import Named
from trainable.formats.data_format import TEST, DataFormat, photos_below, split_folders
from trainable.formats.mask_folders import ALONE
from trainable.formats.mask_photos import MaskData, Pair, read_masks
from trainable.labelled_photos import Dataset

PHOTOS, MASKS = "leftImg8bit", "gtFine"
LABEL_IDS, TRAIN_IDS = "labelIds", "labelTrainIds"

EVALUATED: tuple[tuple[int, str, Colour], ...] = (
    (7, "road", (128, 64, 128)), (8, "sidewalk", (244, 35, 232)), (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)), (13, "fence", (190, 153, 153)), (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)), (20, "traffic sign", (220, 220, 0)), (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)), (23, "sky", (70, 130, 180)), (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)), (26, "car", (0, 0, 142)), (27, "truck", (0, 0, 70)), (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)), (32, "motorcycle", (0, 0, 230)), (33, "bicycle", (119, 11, 32)),
)  # fmt: skip
"""labelId, name and colour of the 19 classes that its benchmark evaluates, in the order of their train ids."""

IGNORED: tuple[tuple[int, str], ...] = (
    (0, "unlabeled"), (1, "ego vehicle"), (2, "rectification border"), (3, "out of roi"), (4, "static"),
    (5, "dynamic"), (6, "ground"), (9, "parking"), (10, "rail track"), (14, "guard rail"), (15, "bridge"),
    (16, "tunnel"), (18, "polegroup"), (29, "caravan"), (30, "trailer"),
)  # fmt: skip
"""labelId and name of the others. Source of both: cityscapesScripts, helpers/labels.py."""


def _named(by_train_id: bool, classes: Classes | None) -> list[Named]:
    """Return what the values are; the ignored ones are classes only where they are given by name."""
    if by_train_id:
        return [Named(train_id, name, colour) for train_id, (_, name, colour) in enumerate(EVALUATED)]
    wanted = {name for _, name in IGNORED if classes and classes.index_of(name) is not None}
    ignored = [Named(value, name, None, name not in wanted) for value, name in IGNORED]
    return [*ignored, *(Named(value, name, colour) for value, name, colour in EVALUATED)]


def recognise(root: Path) -> str | None:
    """Return its two folders, where both are there."""
    return f"{PHOTOS}/ and {MASKS}/" if (root / PHOTOS).is_dir() and (root / MASKS).is_dir() else None


def _mask(photo: str, kind: str) -> str:
    return f"{MASKS}/{photo.removeprefix(f'{PHOTOS}/').removesuffix(f'_{PHOTOS}.png')}_{MASKS}_{kind}.png"


def read(root: Path, classes: Classes | None) -> Dataset:
    """Pair photos and masks of the 34 label ids, or where there are none of these of the 19 train ids.

    Raises:
        DataError: no photo has a mask.
    """
    masks = set(photos_below(root, MASKS))
    kinds = [kind for kind in (LABEL_IDS, TRAIN_IDS) if any(name.endswith(f"_{kind}.png") for name in masks)]
    kind = kinds[0] if kinds else LABEL_IDS
    data = MaskData(root, [], f"Cityscapes ({PHOTOS}/, {MASKS}/ with {kind})", _named(kind == TRAIN_IDS, classes))
    for folder, split in _splits(root):
        for photo in photos_below(root, f"{PHOTOS}/{folder}"):
            mask = _mask(photo, kind)
            if split == TEST:
                continue
            if mask in masks:
                data.pairs.append(Pair(photo, mask, split))
            else:
                data.problems.append(Problem(photo, f"photo {photo} has no mask {mask}; add it, or remove the photo"))
    paired = {pair.mask for pair in data.pairs}
    tests = tuple(f"{MASKS}/{folder}/" for folder, split in _splits(root) if split == TEST)
    own = [name for name in masks if name.endswith(f"_{kind}.png") and not name.startswith(tests or "/")]
    data.notes += [Note(ALONE, name) for name in sorted(set(own) - paired)]
    return read_masks(data, classes)


def _splits(root: Path) -> list[tuple[str, str]]:
    return list(split_folders(root / PHOTOS).items())


def test_photos(root: Path) -> tuple[str, ...]:
    """Return the photos of test/, whose masks the data set keeps for itself."""
    tests = [folder for folder, split in _splits(root) if split == TEST]
    return tuple(name for folder in tests for name in photos_below(root, f"{PHOTOS}/{folder}"))


CITYSCAPES = DataFormat("Cityscapes", f"{PHOTOS}/ and {MASKS}/", recognise, read, test_photos)
