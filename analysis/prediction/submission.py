"""The competition's submission file: written and read; `analysis/check_submission.py` tells what is wrong with one.

A csv of one row per test photo, in the order of sample_submission.csv or, where there is none, of test.json:

    image_id,PredictionString
    batch_01_vt/0021.jpg,0 0 0 5 5 ...

image_id is the photo's file_name, PredictionString the 65,536 class ids (0 to 10) of its map of 256 x 256 pixels, row
by row with one space between two. Files are read and written row by row, so that memory does not grow with them.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.classes import COMPETITION, Classes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.images.photo_files import has_control_characters
from trainable.images.resampling import SCORE_SIZE
from trainable.run_folder.search_record import is_of_competition
from trainable.storage.atomic_write import temporary_of

Map = NDArray[np.uint8]
"""Class ids of one photo, (256, 256)."""

HEADER = b"image_id,PredictionString\n"
PIXELS = SCORE_SIZE**2
LARGEST = len(COMPETITION) - 1
TEXTS = frozenset(str(value).encode() for value in range(len(COMPETITION)))

DIGIT_AND_SPACE = np.uint16(0x2030)
"""The bytes "0 " as a little-endian number. With a class id added, its digit; with 10, a colon, which comes after 9."""

LINE_LIMIT = 1 << 22
"""Bytes; a map of 1024 x 1024 pixels, and so every likely mistake, is shorter."""

ROW = re.compile(rb'(?:"((?:[^"]|"")+)"|([^",]+)),(.*)', re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One row of a submission, its values not yet parsed."""

    line: int  # counted from 1, the header's
    offset: int  # bytes before it
    image_id: str
    values: bytes


def check_csv(classes: Classes, geometry: Geometry) -> None:
    """See that the competition's file can hold predictions of some classes and of a score's frame.

    Raises:
        ValueError: it cannot; masks can.
    """
    if not is_of_competition(classes, geometry):
        found = f"{len(classes)} classes" if classes.names != COMPETITION.names else f"maps at {geometry.score_text}"
        raise ValueError(
            f"a submission csv has the competition's {len(COMPETITION)} classes at {COMPETITION_GEOMETRY.score_text}, "
            f"this run has {found}: write masks, by --masks DIR in place of --out"
        )


def predict_options(classes: Classes, geometry: Geometry) -> tuple[str, str]:
    """Return the option of `analysis/ensemble_predict.py` for what a run's predictions are written to."""
    return ("--out", "submission.csv") if is_of_competition(classes, geometry) else ("--masks", "masks")


def prediction_bytes(classes: Map) -> bytes:
    """Return the PredictionString of a map.

    Raises:
        ValueError: it is not uint8 of shape (256, 256), or has an id above 10.
    """
    if classes.shape != (SCORE_SIZE, SCORE_SIZE) or classes.dtype != np.uint8:
        raise ValueError(
            f"a map must be uint8 of shape ({SCORE_SIZE}, {SCORE_SIZE}), found {classes.dtype} of {classes.shape}; "
            "shrink it by trainable.metric.confusion.resize_classes"
        )
    largest = classes.max()
    if largest > LARGEST:
        raise ValueError(f"class ids are 0 to {LARGEST}, found {largest}; leave no pixel to be ignored")
    encoded = np.add(classes, DIGIT_AND_SPACE, dtype="<u2").tobytes()[:-1]
    return encoded.replace(b":", b"10") if largest == 10 else encoded


def class_map(values: bytes) -> Map:
    """Return the map of a PredictionString.

    Raises:
        ValueError: a value is no class id, or there are not 65,536.
    """
    # With a colon for each 10 every value has one byte, whose place is known beforehand.
    short = values if len(values) == 2 * PIXELS - 1 else values.replace(b"10", b":")
    if len(short) == 2 * PIXELS - 1 and b":" not in values:
        pairs = np.frombuffer(short + b" ", "<u2") - DIGIT_AND_SPACE  # whatever is no digit and space is above 10
        if pairs.max() <= LARGEST:
            return pairs.astype(np.uint8).reshape(SCORE_SIZE, SCORE_SIZE)
    raise ValueError(_values_fault(values))


def write_submission(path: Path, rows: Iterable[tuple[str, Map]], count: int = 0) -> None:
    """Write rows of image_id and map as they come, so that a kill at any moment leaves the old file or the new.

    Args:
        path: the csv.
        rows: at least one; no image_id twice.
        count: how many rows there will be; 0 asks `rows`, and where those do not know, free space is not looked at.

    Raises:
        ValueError: the file cannot be there, the disk cannot hold it, or a row is not as above.
    """
    _check_place(path, len(HEADER) + 2 * PIXELS * (count or length_hint(rows)))
    temporary = temporary_of(path)
    written: set[str] = set()
    try:
        with temporary.open("wb") as file:
            file.write(HEADER)
            for image_id, classes in rows:
                if image_id in written:
                    raise ValueError(f"{image_id} comes twice; a photo has one row")
                file.write(_row(image_id, classes))
                written.add(image_id)
            if not written:
                raise ValueError(f"there are no maps to write to {path}")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_submission(path: Path) -> Iterator[tuple[str, Map]]:
    """Yield image_id and map of each row.

    Raises:
        ValueError: the file breaks a rule, and on which line; `check_submission` finds all such lines.
    """
    for row in read_rows(path):
        try:
            yield row.image_id, class_map(row.values)
        except ValueError as error:
            raise ValueError(f"{path}, line {row.line}, {row.image_id}: {error}") from None


def read_rows(path: Path) -> Iterator[Row]:
    """Yield each row with its place in the file.

    Raises:
        ValueError: header or row are not as above, or an image_id comes twice.
    """
    offset = 0
    line_of: dict[str, int] = {}
    for number, line in numbered_lines(path):
        if number == 1:
            if problems := header_problems(line):
                raise ValueError(f"{path}: {problems[0]}")
        else:
            try:
                image_id, values = split_row(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number} {error}") from None
            if image_id in line_of:
                raise ValueError(f"{path}, line {number}: {image_id} is on line {line_of[image_id]} too; keep one")
            line_of[image_id] = number
            yield Row(number, offset, image_id, values)
        offset += len(line)
    if not line_of:
        raise ValueError(f"{path} has no rows; fetch it again")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line, its end included, with its number from 1.

    Raises:
        ValueError: a line is longer than any row.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
            if len(line) == LINE_LIMIT:
                raise ValueError(f"{path}, line {number} is longer than {LINE_LIMIT:,} bytes; a line holds one photo")
            yield number, line


def split_row(line: bytes) -> tuple[str, bytes]:
    """Return the image_id and PredictionString of a line, either with or without quotes.

    Raises:
        ValueError: there are no two fields, or the image_id is not utf-8; begins with "is" or "has".
    """
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    match = ROW.fullmatch(line)
    if match is None:
        raise ValueError(f"has no image_id and PredictionString with a comma between: {shown(line)}")
    quoted, plain, values = match.groups()
    if len(values) > 1 and values[:1] == values[-1:] == b'"':
        values = values[1:-1]
    try:
        return (plain or quoted.replace(b'""', b'"')).decode(), values
    except UnicodeDecodeError as error:
        raise ValueError(f"is not utf-8 ({error}); save the file as utf-8") from None


def header_problems(line: bytes) -> list[str]:
    """Return what is wrong with the first line."""
    problems = []
    if line.startswith(b"\xef\xbb\xbf"):
        problems.append("line 1 starts with a byte order mark; save the file as utf-8 without one")
    header = line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").removesuffix(b"\r")
    fields = [
        field[1:-1] if len(field) > 1 and field[:1] == field[-1:] == b'"' else field for field in header.split(b",")
    ]
    if fields != HEADER.strip().split(b","):
        problems.append(f"line 1 must be {HEADER.decode().strip()}, found {shown(header)}")
    return problems


def _row(image_id: str, classes: Map) -> bytes:
    if not image_id or has_control_characters(image_id):
        raise ValueError(f"an image_id needs printable characters, found {image_id!r}; rename the photo")
    name = '"' + image_id.replace('"', '""') + '"' if set(image_id) & set(',"') else image_id
    try:
        return b"%s,%s\n" % (name.encode(), prediction_bytes(classes))
    except ValueError as error:
        raise ValueError(f"{image_id}: {error}") from None


def _check_place(path: Path, need: int) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"the folder {path.parent} does not exist; create it or name another")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise ValueError(
            f"{path} needs {need / 1e6:,.0f} MB, {path.parent} has {free / 1e6:,.0f} MB free; "
            "make room or name another disk"
        )


def _values_fault(values: bytes) -> str:
    faults = []
    texts = values.split(b" ") if values else []
    if len(texts) != PIXELS:
        faults.append(f"a map has {PIXELS:,} values, found {len(texts):,}")
    wrong = next((position for position, value in enumerate(texts) if value not in TEXTS), None)
    if wrong is not None:
        example = f"value {wrong + 1:,} is {shown(texts[wrong])}"
        faults.append(f"values are whole numbers from 0 to {LARGEST} with one space between, {example}")
    return "; ".join(faults)


def shown(text: bytes) -> str:
    """Return the beginning of a text as an error shows it."""
    whole = text.decode(errors="replace")
    return repr(whole if len(whole) <= 40 else f"{whole[:40]}...")
