"""The classes of masks: which value or colour is which, from a list beside them."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.classes import IGNORE_INDEX, MOST, Classes, Colour, is_background, is_void
from trainable.counts import agrees
from trainable.images.mask_files import MaskTable
from trainable.spelling import nearest

CLASS_LISTS = (
    "classes.txt", "class_names.txt", "labelmap.txt", "label_map.txt", "labels.txt", "codes.txt", "class_dict.csv",
    "classes.csv", "label_colors.txt",
)  # fmt: skip
"""Files that tools write them to."""

RULE = "a list of classes has one name a line, or lines id,name,#rrggbb"

SHOWN = 5
"""Names that are told."""

LONGEST = 1_000_000
"""Bytes."""

_HEADS = {"id": "id", "value": "id", "index": "id", "name": "name", "class_name": "name", "class": "name",
          "label": "name", "colour": "colour", "color": "colour", "r": "r", "g": "g", "b": "b", "red": "r",
          "green": "g", "blue": "b"}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A value of masks, and what it is called."""

    value: int  # below 0 where only its colour is in masks
    name: str
    colour: Colour | None = None
    void: bool = False  # its pixels are ignored, whatever it is called


class ListError(ValueError):
    """A list of classes cannot be used."""


def find_class_list(root: Path) -> str | None:
    """Return the name of a folder's list of classes, None where it has none.

    Raises:
        ListError: there are several.
    """
    found = [name for name in CLASS_LISTS if (root / name).is_file()]
    if len(found) > 1:
        raise ListError(f"{' and '.join(found)} may both list the classes; move the others out of the folder")
    return found[0] if found else None


def read_class_list(path: Path) -> list[Named]:
    """Read a list of classes.

    Raises:
        ListError: it is none, or gives a value twice.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ListError(f"{path.name} has {path.stat().st_size / 1e6:.0f} MB; {RULE}")
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ListError(f"{path.name} is not text in UTF-8 ({error}); save it as UTF-8") from None
    try:
        named = _parse([line for line in lines if line])
    except (ValueError, csv.Error) as error:
        raise ListError(f"{path.name}: {error}; {RULE}") from None
    if not named:
        raise ListError(f"{path.name} lists no class; {RULE}")
    for what, given in (("value", [each.value for each in named]), ("name", [each.name for each in named])):
        own, count = Counter[int | str](given).most_common(1)[0]
        if count > 1:
            raise ListError(f"{path.name} gives the {what} {own!r:.60} to {count} classes; {what}s must differ")
    return named


def as_classes(named: Sequence[Named], given: Classes | None) -> tuple[Classes, MaskTable]:
    """Return the classes of listed values in the order of these, and what the pixels of masks mean.

    Args:
        named: the list.
        given: what they are to be, by their names.

    Raises:
        ListError: they cannot be classes, or the given ones do not have a name.
    """
    ordered = sorted(named, key=lambda each: each.value)
    kept = [each for each in ordered if not (each.void or is_void(each.name))]
    if given is None:
        if len(kept) > MOST:
            raise ListError(f"{len(kept)} classes are more than the {MOST} that can be trained; merge some (--classes)")
        classes = _own(kept)
        index = {each.value: position for position, each in enumerate(kept)}
    else:
        classes = given
        index = _indices(named, kept, given)
    meant = {each.value: index.get(each.value, IGNORE_INDEX) for each in ordered}
    colours = Counter(each.colour for each in ordered)
    table = MaskTable(
        tuple({IGNORE_INDEX: IGNORE_INDEX, **{value: own for value, own in meant.items() if value >= 0}}.items()),
        # Of a colour that two classes have it cannot be known whose it is.
        tuple((each.colour, meant[each.value]) for each in ordered if each.colour and colours[each.colour] == 1),
    )
    return classes, table


def _own(kept: Sequence[Named]) -> Classes:
    colours = [each.colour for each in kept if each.colour]
    names = [each.name for each in kept]
    try:
        return Classes.of_names(
            names, bool(names) and is_background(names[0]), colours if len(colours) == len(names) else ()
        )
    except ValueError as error:
        raise ListError(str(error)) from None


def _indices(named: Sequence[Named], kept: Sequence[Named], given: Classes) -> dict[int, int]:
    """Return the given classes' index of each value.

    Raises:
        ListError: one has none.
    """
    index = {each.value: given.index_of(each.name) for each in named}
    unknown = [each.name for each in kept if index[each.value] is None]
    if unknown:
        known = [*given.names, *given.sources]
        told = ", ".join(_with_nearest(name, known) for name in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        names = ", ".join(given.names[: 2 * SHOWN]) + (", ..." if len(given) > 2 * SHOWN else "")
        raise ListError(
            f"{agrees(len(unknown), 'a class', 'classes')} of the masks that --classes does not have: {told}{more}. "
            f"Its classes are {names}: name each under 'from' of the class that takes it, or under 'ignore'"
        )
    return {value: own for value, own in index.items() if own is not None}


def _with_nearest(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f"{name!r:.60} (did you mean {near[0]!r}?)" if near else f"{name!r:.60}"


def _parse(lines: list[str]) -> list[Named]:
    if any(line.lower().startswith("# label:") for line in lines):
        return _labelmap(lines)
    lines = [line for line in lines if not line.startswith("# ")]
    if lines and all(re.fullmatch(r"\d+\s+\d+\s+\d+\s+\S.*", line) for line in lines):  # red green blue name
        parts = [line.split(None, 3) for line in lines]
        return [Named(position, part[3], _rgb(part[:3])) for position, part in enumerate(parts)]
    if lines and all(re.fullmatch(r"\d+(\s*:\s*|\s+)\S.*", line) for line in lines):  # id name
        pairs = [re.split(r"\s*:\s*|\s+", line, maxsplit=1) for line in lines]
        return [Named(_value(own), name) for own, name in pairs]
    delimiter = next((each for each in ("\t", ";") if lines and all(each in line for line in lines)), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    heads = [_HEADS.get(cell.lower()) for cell in rows[0]] if rows else []
    if "name" in heads and None not in heads and len(heads) > 1:
        return [_by_head(heads, row, position) for position, row in enumerate(rows[1:])]  # type: ignore[arg-type]
    named = [_by_place(row, position) for position, row in enumerate(rows)]
    first = next(iter(named), None)
    if first and first.name == "__ignore__" and first.value == 0:  # labelme's list begins at -1
        return [Named(each.value - 1, each.name, each.colour) for each in named]
    return named


def _labelmap(lines: list[str]) -> list[Named]:
    """Read CVAT's labelmap.txt: name:red,green,blue:parts:actions."""
    named: list[Named] = []
    for line in lines:
        if line.startswith("#"):
            continue
        name, *rest = line.split(":")
        colour = _rgb(rest[0].split(",")) if rest and rest[0] else None
        named.append(Named(len(named), name.strip(), colour))
    return named


def _by_head(heads: list[str], row: list[str], position: int) -> Named:
    if len(row) != len(heads):
        raise ValueError(f"line {position + 2} has {len(row)} cells, the first has {len(heads)}")
    cells = dict(zip(heads, row, strict=True))
    colour = _hex(cells["colour"]) if cells.get("colour") else None
    if {"r", "g", "b"} <= set(cells):
        colour = _rgb([cells["r"], cells["g"], cells["b"]])
    return Named(_value(cells["id"]) if "id" in cells else position, cells["name"], colour)


def _by_place(row: list[str], position: int) -> Named:
    if len(row) == 1:
        return Named(position, row[0])
    if len(row) == 2 and row[1].startswith("#"):
        return Named(position, row[0], _hex(row[1]))
    if len(row) == 2:
        return Named(_value(row[0]), row[1])
    if len(row) == 3:
        return Named(_value(row[0]), row[1], _hex(row[2]) if row[2] else None)
    if len(row) == 4:
        return Named(position, row[0], _rgb(row[1:]))
    if len(row) == 5:
        return Named(_value(row[0]), row[1], _rgb(row[2:]))
    raise ValueError(f"line {position + 1} has {len(row)} cells")


def _value(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError(f"an id is a whole number of 0 to 65535, found {text!r:.40}")
    return int(text)


def _hex(text: str) -> Colour:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError(f"a colour is written #rrggbb, found {text!r:.40}")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)


def _rgb(cells: Iterable[Any]) -> Colour:
    own = [str(cell).strip() for cell in cells]
    if len(own) != 3 or not all(re.fullmatch("[0-9]{1,3}", cell) and int(cell) < 256 for cell in own):
        raise ValueError(f"a colour is three numbers of 0 to 255, found {','.join(own)!r:.40}")
    return int(own[0]), int(own[1]), int(own[2])
