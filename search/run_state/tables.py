"""Tables that fit the terminal: other columns give way, so that the last one, a trial's config, stays readable."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

READABLE = 30
"""Characters of a config that are to have a line of their own; two short values."""

NARROW = 60
"""Characters of a terminal below which lines between columns cost too many of them."""


def fitted(
    table: Table,
    titles: Sequence[str],
    rows: Sequence[tuple[Sequence[str | Text], str]],
    console: Console,
    gives_way: Sequence[str],
    left: Sequence[str] = (),
) -> Table:
    """Fill a table as far as the console is wide.

    Args:
        table: without columns.
        titles: of the columns; the last one wraps, the others never do.
        rows: cells and style of each.
        console: that it will be printed on.
        gives_way: titles of the columns that can be left out, the first of them first.
        left: titles of the columns that are aligned to the left, as the last one is.
    """
    if console.width < NARROW:
        table.box, table.pad_edge = None, False
    around = 3 if table.box else 2
    widths = [
        max(len(cell) for cell in (title, *(cells[column] for cells, _ in rows))) for column, title in enumerate(titles)
    ]
    columns, out = list(range(len(titles))), list(gives_way)
    while out and sum(widths[i] + around for i in columns[:-1]) + around + min(widths[-1], READABLE) > console.width:
        columns.remove(titles.index(out.pop(0)))
    for column in columns[:-1]:
        table.add_column(titles[column], justify="left" if titles[column] in left else "right", no_wrap=True)
    table.add_column(titles[-1], overflow="fold")
    for cells, style in rows:
        table.add_row(*(cells[column] for column in columns), style=style)
    return table
