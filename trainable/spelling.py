"""Which known name a misspelt one may mean."""

from collections.abc import Iterable
from difflib import get_close_matches

NEAR = 0.6
"""How like a known name must be, from 0 to 1, as `difflib` has it: one that shares but some letters helps nobody."""


def nearest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Return the known names that are near to a name, the nearest first; none where none is."""
    return get_close_matches(name, list(known), n=most, cutoff=NEAR)


def did_you_mean(name: str, known: list[str], shown: int = 20) -> str:
    """Return the end of an error about an unknown name: the nearest known names, or the known names where none is."""
    if near := nearest(name, known, 3):
        return f"; did you mean {' or '.join(map(repr, near))}?"
    rest = f" and {len(known) - shown} more" if len(known) > shown else ""
    return f"; known are {', '.join(known[:shown])}{rest}"
