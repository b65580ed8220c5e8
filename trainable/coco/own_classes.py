"""Which classes a data set's categories are: the competition's, or its own."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from trainable.classes import COMPETITION, IGNORE_INDEX, MOST, Classes, is_background, is_void
from trainable.coco.ids import Id
from trainable.data_errors import Note

UNUSED = "categories that no annotation uses, left out"
VOID = "categories whose pixels are ignored by their name"
TACO_NOTE = "categories of TACO, trained as they are; --classes taco makes them the competition's"

TACO = Classes.from_file(Path("taco"))

BACKGROUND = "Background"


def choose_classes(used: Mapping[str, Id], listed: Collection[str]) -> tuple[Classes, list[Note]]:
    """Return the classes of a data set, and what is worth knowing of them.

    Args:
        used: the names of categories that annotations use, each with its id, by which classes are ordered.
        listed: the names of all categories.

    Returns:
        The competition's classes where the names are theirs, also where one seems a misspelling of theirs: that is
        told as an unknown category, not trained as a class of its own.

    Raises:
        ValueError: the names cannot be classes.
    """
    if set(used) <= set(COMPETITION.names) or _is_misspelt(used, listed):
        return COMPETITION, []
    names = sorted(used, key=lambda name: (isinstance(used[name], str), used[name]))
    notes = [Note(UNUSED, repr(name)) for name in listed if name not in used]
    notes += [Note(VOID, repr(name)) for name in names if is_void(name)]
    if is_tacos(used):
        notes.append(Note(TACO_NOTE, f"{len(used)} of them"))
    return own_classes(names), notes


def own_classes(names: Sequence[str]) -> Classes:
    """Return classes of these names in their order, background first; those of void are ignored.

    Raises:
        ValueError: the names cannot be classes.
    """
    background = [name for name in names if is_background(name)]
    void = {name: IGNORE_INDEX for name in names if is_void(name)}
    objects = [name for name in names if name not in void and name not in background]
    if len(objects) >= MOST:
        raise ValueError(
            f"{len(objects)} categories are more than the {MOST - 1} that can be trained; merge some of them into one "
            "class each, with --classes FILE"
        )
    if not objects:
        raise ValueError("every annotation is of background or void: there is no class to train; annotate objects")
    first = background[0] if background else BACKGROUND
    return Classes.of_names([first, *objects], True, sources={**void, **dict.fromkeys(background[1:], 0)})


def is_tacos(names: Collection[str]) -> bool:
    """Tell whether all names are TACO's, and not the competition's."""
    return set(names) <= {*TACO.sources, "Battery"} and not set(names) <= set(COMPETITION.names)


def nearest_class(name: str, classes: Classes) -> str | None:
    """Return the name of a class, or of what a class takes, that a name is a misspelling of, or None."""
    spelled = {known.casefold(): known for known in (*classes.sources, *classes.names[int(classes.background) :])}
    plain = name.strip().casefold().replace("_", " ").replace("-", " ")
    close = get_close_matches(plain, spelled, n=1, cutoff=0.85)
    return spelled[close[0]] if close else None


def _is_misspelt(used: Collection[str], listed: Collection[str]) -> bool:
    """Tell whether most categories are the competition's, and one that is used is a misspelling of theirs."""
    odd = [name for name in used if name not in COMPETITION.names]
    exact = {*used, *listed} & set(COMPETITION.names)
    return len(exact) >= len(odd) and any(nearest_class(name, COMPETITION) for name in odd)
