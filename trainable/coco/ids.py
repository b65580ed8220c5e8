"""The ids of a COCO file: whole numbers, or what some tools write in their place."""

import re
from typing import Any, TypeGuard

Id = int | str

_WHOLE = re.compile(r"-?[0-9]{1,18}(\.0+)?")


def is_whole(value: Any) -> TypeGuard[int]:
    """Tell whether a json value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def as_id(value: Any) -> Id | None:
    """Return what an id means: 3, 3.0, "3" and "3.0" are one number, other texts are ids of their own; None if none."""
    if is_whole(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if not isinstance(value, str) or not (text := value.strip()):
        return None
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else text
