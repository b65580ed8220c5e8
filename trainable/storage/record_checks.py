"""Reads the records of a run folder that may be damaged, or someone else's: a right record, or one clear error."""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors

DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    AssertionError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    safetensors.SafetensorError,
)
"""What readers raise on json, csv, npz, parquet and safetensors files that are not whole or hold something else."""

SEARCH_FORMAT = TRIAL_FORMAT = 1
"""Of `search.json` and `trial.json`. A format grows when an older reader would misunderstand what is written; a record
without one has 1."""

Rule = Callable[[Any], str | None]
"""Says what is wrong with a record, or None."""


class DamagedError(ValueError):
    """A file of a run folder is not what it should be."""


class NewerFormatError(DamagedError):
    """A record is whole, but of a later version: nothing may take it for damaged and write it anew."""


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into one error that names the file; that there is none stays what it is.

    Raises:
        FileNotFoundError: the reader's.
        DamagedError: in place of anything else that a damaged file makes a reader raise.
    """
    try:
        yield
    except (FileNotFoundError, DamagedError):
        raise
    except DAMAGE as error:
        text = (str(error).splitlines() or [""])[0]
        raise DamagedError(f"{path} is damaged ({type(error).__name__}: {text})") from error


def check_format(path: Path, content: Any, newest: int) -> None:
    """Refuse a record that an earlier version than its writer's would misunderstand.

    Args:
        path: of its file, for the message.
        content: with `format`; without, it has format 1.
        newest: format that is read.

    Raises:
        NewerFormatError: it has a later one.
        DamagedError: its format is no number.
    """
    stated = content.get("format", 1) if isinstance(content, dict) else 1
    if not is_count(stated, 1):
        raise DamagedError(f"{path} is damaged: its format is {stated!r:.20}, which must be a whole number from 1 on")
    if stated > newest:
        raise NewerFormatError(
            f"{path} has format {stated}, and this version reads up to {newest}: read it with the version that wrote "
            "it, or update this one"
        )


def read_record(path: Path, rule: Rule, newest: int = 1) -> Any:
    """Read a json file that has to keep a rule.

    Args:
        path: of the file.
        rule: says what is wrong with its content.
        newest: format that is read.

    Raises:
        FileNotFoundError: there is none.
        NewerFormatError: it has a format above the newest that is read.
        DamagedError: it is no json, or breaks the rule.
    """
    with undamaged(path):
        content = json.loads(path.read_bytes())
    check_format(path, content, newest)
    if fault := rule(content):
        raise DamagedError(f"{path} is damaged: {fault}")
    return content


def is_count(value: Any, least: int = 0) -> bool:
    """Tell whether a json value is a whole number from `least` on."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def status_rule(states: tuple[str, ...]) -> Rule:
    """Return the rule of a `trial.json`."""

    def rule(content: Any) -> str | None:
        if not isinstance(content, dict):
            return "it is no object"
        if content.get("state") not in states:
            return f"state is {content.get('state')!r:.40}, not one of {', '.join(states)}"
        if not isinstance(content.get("reason", ""), str) or not isinstance(content.get("params", {}), dict):
            return "reason must be a text and params an object"
        files = content.get("files", {})
        facts = list(files.values()) if isinstance(files, dict) else [None]
        if not all(
            isinstance(entry, dict) and is_count(entry.get("bytes")) and isinstance(entry.get("sha256"), str)
            for entry in facts
        ):
            return "files must give bytes and sha256 of each"
        return None if all("/" not in name for name in files) else "files must be named without a path"

    return rule


def search_rule(content: Any) -> str | None:
    """Say what is wrong with a `search.json`."""
    plan = content.get("plan") if isinstance(content, dict) else None
    base = plan.get("base") if isinstance(plan, dict) else None
    if not isinstance(plan, dict) or not isinstance(base, dict):
        return "it has no plan with a base"
    if not is_count(plan.get("trials"), 1) or not is_count(base.get("epochs"), 1):
        return "the plan's trials and the base's epochs must be whole numbers from 1 on"
    extended = content.get("extended", [])
    if not isinstance(extended, list) or not all(
        isinstance(extension, dict) and _is_extension(extension) for extension in extended
    ):
        return "extended must list when, trials and again of each time"
    return None


def _is_extension(content: dict[str, Any]) -> bool:
    again, texts = content.get("again"), [content.get(name, "") for name in ("command", "space", "stopper")]
    numbers = isinstance(again, list) and all(is_count(number) for number in again)
    dated = is_count(content.get("trials"), 1) and isinstance(content.get("when"), int | float)
    return numbers and dated and all(isinstance(text, str) for text in texts)


def object_rule(content: Any) -> str | None:
    """Say that a record is no json object."""
    return None if isinstance(content, dict) else "it is no object"


def texts_rule(content: Any) -> str | None:
    """Say that a record is no list of texts."""
    return None if isinstance(content, list) and all(isinstance(text, str) for text in content) else "it is no list"


def folds_rule(content: Any) -> str | None:
    """Say what is wrong with a `folds.json`."""
    if not isinstance(content, dict) or texts_rule(content.get("classes")):
        return "it has no classes"
    if not is_count(content.get("count"), 1) or not is_count(content.get("scenes")):
        return "count and scenes must be whole numbers"
    if not is_count(content.get("largest_scene", 1), 1) or not isinstance(content.get("example", ""), str):
        return "largest_scene must be a whole number and example a file name"
    if not all(is_count(content.get(name, 0)) for name in ("fewer", "both_sides", "known")):
        return "fewer, both_sides and known must be whole numbers"
    if not isinstance(content.get("seed"), int):
        return "seed must be a whole number"
    fold_of, table = content.get("fold_of"), content.get("photos_with_class")
    dealt = list(fold_of.values()) if isinstance(fold_of, dict) else [None]
    # Where the data says which photos validate, there is one fold, and the others have -1: they always train.
    always = [-1] if content["count"] == 1 else []
    if not all((is_count(fold) and fold < content["count"]) or fold in always for fold in dealt):
        return f"fold_of must give each photo a fold of 0 to {content['count'] - 1}"
    if not isinstance(table, list) or not all(isinstance(row, list) and all(map(is_count, row)) for row in table):
        return "photos_with_class must be a table of counts"
    return None


def checked_curve(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return a curve's rows, each with its epoch as a whole number: 1, 2, 3, ...

    Raises:
        ValueError: they are not counted like that.
    """
    for position, row in enumerate(rows, start=1):
        if not math.isfinite(row["epoch"]) or row["epoch"] != position:
            raise ValueError(f"row {position} is of epoch {row['epoch']}")
    return [{**row, "epoch": int(row["epoch"])} for row in rows]
