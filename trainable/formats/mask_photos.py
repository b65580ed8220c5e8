"""Photos whose labels are mask files: pairs of the two, held to their rules in threads."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from trainable.classes import IGNORE_INDEX, MOST, Classes, Colour
from trainable.coco.images import PAGES
from trainable.coco.reader import hash_of
from trainable.counts import counted
from trainable.data_errors import Note, Problem
from trainable.formats.class_list import ListError, Named, as_classes
from trainable.formats.data_format import fail
from trainable.images.mask_files import MaskTable, read_pixels
from trainable.images.photo_files import UNREADABLE, name_fault, photo_path, read_header
from trainable.labelled_photos import Dataset, MaskFile, Photo
from trainable.machine.cores import cpu_count

SCANNED = "classes named after the values in masks, as no list names them (classes.txt, one name a line)"


@dataclass(frozen=True)
class Pair:
    """A photo and its mask, by their names from the data folder on."""

    file_name: str
    mask: str
    split: str | None = None  # `train` or `val`, where the data says it


@dataclass
class MaskData:
    """What a reader has found in a folder."""

    root: Path
    pairs: list[Pair]
    data_format: str  # in words
    named: Sequence[Named] | None  # the list of classes; None where there is none
    lists: tuple[str, ...] = ()  # files of classes and splits, from the data folder on
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class _Look:
    """What is found of one pair."""

    photo: Photo | None
    mask_hash: str
    problem: Problem | None = None
    note: Note | None = None
    used: frozenset[int] = frozenset()  # values in the mask, where they are asked for
    palette: tuple[Colour, ...] = ()


def read_masks(data: MaskData, given: Classes | None) -> Dataset:
    """Return the photos with their masks; the values in masks are looked at when they are drawn.

    Raises:
        DataError: there are no pairs, or the classes cannot be known.
    """
    if not data.pairs:
        raise fail(data.root, *([problem.text for problem in data.problems] or ["no photo has a mask"]))
    scan = data.named is None
    with ThreadPoolExecutor(2 * cpu_count()) as pool:  # decoding and hashing let go of Python's lock
        looks = list(pool.map(lambda pair: _look(data.root, pair, scan), data.pairs))
    try:
        named = _values(looks) if data.named is None else data.named
        classes, table = as_classes(named, given)
    except ListError as error:
        raise fail(data.root, str(error)) from None
    if scan:
        table = MaskTable(table.values)  # the colours are only those of one mask's palette
        data.notes.append(Note(SCANNED, ", ".join(classes.names)))
    photos = tuple(
        Photo(look.photo.file_name, look.photo.path, look.photo.height, look.photo.width, (),
              mask=MaskFile(photo_path(data.root, pair.mask), table))
        for pair, look in zip(data.pairs, looks, strict=True)
        if look.photo
    )  # fmt: skip
    hashes = [f"{pair.file_name} {look.mask_hash}\n" for pair, look in zip(data.pairs, looks, strict=True)]
    hashes += [f"{name} {hashlib.sha256((data.root / name).read_bytes()).hexdigest()}\n" for name in data.lists]
    problems = (*data.problems, *(look.problem for look in looks if look.problem))
    notes = (*data.notes, *(look.note for look in looks if look.note))
    digest = hash_of(hashes, classes)
    given_splits = {pair.file_name: pair.split for pair in data.pairs if pair.split}
    return Dataset(data.root, photos, problems, digest, notes, classes, data.data_format, given_splits)


def one_mask_each(data: MaskData) -> None:
    """Take out the pairs of photos that share a mask: it cannot be known whose it is."""
    counts = Counter(pair.mask for pair in data.pairs)
    for pair in data.pairs:
        if counts[pair.mask] > 1:
            text = f"photo {pair.file_name} shares the mask {pair.mask} with another photo; names must tell them apart"
            data.problems.append(Problem(pair.file_name, text))
    data.pairs = [pair for pair in data.pairs if counts[pair.mask] == 1]


def _look(root: Path, pair: Pair, scan: bool) -> _Look:
    mask = photo_path(root, pair.mask)
    try:
        digest = hashlib.sha256(mask.read_bytes()).hexdigest()
    except OSError as error:
        digest, fault = "missing", f"the mask of {pair.file_name}, {pair.mask}, cannot be read ({error}); replace it"
        return _Look(None, digest, Problem(pair.file_name, fault))
    if fault := name_fault(pair.file_name):  # type: ignore[assignment]
        return _Look(None, digest, Problem(pair.file_name, f"a photo {fault}"))
    try:
        header = read_header(photo_path(root, pair.file_name))
    except FileNotFoundError:
        text = f"photo {pair.file_name} does not exist; add it or remove its mask {pair.mask}"
        return _Look(None, digest, Problem(pair.file_name, text))
    except UNREADABLE as error:
        text = f"photo {pair.file_name} cannot be read ({error}); replace it"
        return _Look(None, digest, Problem(pair.file_name, text))
    photo = Photo(pair.file_name, photo_path(root, pair.file_name), header.height, header.width, ())
    note = Note(PAGES, pair.file_name) if header.pages else None
    used: frozenset[int] = frozenset()
    palette: tuple[Colour, ...] = ()
    try:
        of_mask = read_header(mask)
        if scan:
            pixels = read_pixels(mask)
            if pixels.grey() is None:
                raise ValueError("it is a picture of colours; list them in classes.txt: lines id,name,#rrggbb")
            used, palette = frozenset(pixels.used()), pixels.palette
    except UNREADABLE as error:
        text = f"the mask of {pair.file_name}, {pair.mask}, cannot be used: {error}"
        return _Look(photo, digest, Problem(pair.file_name, text), note)
    problem = None
    if (of_mask.width, of_mask.height) != (header.width, header.height):
        sizes = f"photo {pair.file_name} is {header.width}x{header.height}, its mask {of_mask.width}x{of_mask.height}"
        remedy = "mend one of them"
        if header.turned and (of_mask.height, of_mask.width) == (header.width, header.height):
            remedy = "it was labelled as it is stored, on its side. Remove its EXIF orientation"
        problem = Problem(pair.file_name, f"{sizes}: {remedy}")
    return _Look(photo, digest, problem, note, used, palette)


def _values(looks: Sequence[_Look]) -> list[Named]:
    """Return the classes that the values of masks make.

    Raises:
        ListError: they make none.
    """
    used = sorted(frozenset().union(*(look.used for look in looks)) - {IGNORE_INDEX})
    if not used and any(look.problem for look in looks):
        raise ListError(next(look.problem.text for look in looks if look.problem))
    if len(used) < 2:
        both = f"{used[0]} and {IGNORE_INDEX}" if used else str(IGNORE_INDEX)
        raise ListError(
            f"masks hold no values but {both}, of which {IGNORE_INDEX} is ignored: no two classes. Where it is a "
            f"class, list both in classes.txt: lines 0,background and {IGNORE_INDEX},NAME"
        )
    if len(used) > MOST:
        raise ListError(
            f"masks hold {counted(len(used), 'value')}, more than the {MOST} classes that can be trained: they may be "
            "blurred, or pictures of something else; list the classes in classes.txt, one name a line"
        )
    palette = next((look.palette for look in looks if look.palette), ())
    return [Named(value, f"class {value}", palette[value] if value < len(palette) else None) for value in used]
