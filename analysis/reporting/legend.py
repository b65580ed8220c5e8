"""The colours of classes below a figure, in as many columns as their names leave room for."""

from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from trainable.classes import Classes

MOST_COLUMNS = 6

LONGEST = 28
"""Characters of a name that are shown."""


def short(name: str) -> str:
    """Return a class name as a figure shows it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def add_legend(figure: Figure, classes: Classes, present: Iterable[int], fontsize: float) -> float:
    """Draw the colours of some classes below a figure; returns the share of its height that they take.

    Args:
        figure: of its final size.
        classes: of the masks in it.
        present: indices; those that are no class, such as of ignored pixels, are left out.
        fontsize: in points.
    """
    indices = [index for index in sorted(set(map(int, present))) if index < len(classes)]
    if not indices:
        return 0.0
    names = [short(classes.names[index]) for index in indices]
    patches = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*classes.colours[index]), edgecolor="grey", label=name)
        for index, name in zip(indices, names, strict=True)
    ]
    # Letters are about 0.55 as wide as high; a patch and the space around take five letters more.
    column_inches = (max(map(len, names)) + 7) * 0.55 * fontsize / 72
    columns = max(min(MOST_COLUMNS, len(names), int(figure.get_figwidth() / column_inches)), 1)
    figure.legend(handles=patches, loc="lower center", ncols=columns, fontsize=fontsize, frameon=False)
    rows = -(-len(names) // columns)
    return float((1.6 * fontsize * rows + 6) / 72 / figure.get_figheight())
