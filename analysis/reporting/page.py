"""Pieces of the report's page: sections, tables that sort, figures and pictures, all in one file without a network."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from analysis.prediction.mask_files import colours
from analysis.reporting.pictures import Picture
from trainable.classes import Classes
from trainable.metric.bootstrap import Interval

TEMPLATE = Path(__file__).with_name("report_page.html")

LARGEST = 512
"""Pixels of the longer side of a picture; larger ones are shrunk, as the page holds them all."""

FIGURE = "data-figure="
"""What marks a figure on the page: one without any gets no script of 5 MB."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, as html, and what it sorts by."""

    shown: str
    by: float | str


def text(value: object) -> str:
    """Return text as html."""
    return html.escape(str(value))


def page(title: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return the whole page.

    Args:
        title: of the page.
        sections: (name for links, heading, html) each; the first is the page's head and has no link.
    """
    links = "".join(f'<a href="#{name}">{text(heading)}</a>' for name, heading, _ in sections[1:])
    body = "".join(
        f'<section id="{name}">{f"<h2>{text(heading)}</h2>" if position else ""}{content}</section>'
        for position, (name, heading, content) in enumerate(sections)
    )
    filled = TEMPLATE.read_text(encoding="utf-8")
    script = get_plotlyjs() if FIGURE in body else ""
    # The script last: it is long and may hold anything.
    for mark, content in (("TITLE", text(title)), ("LINKS", links), ("BODY", body), ("PLOTLY", script)):
        filled = filled.replace(f"<!--{mark}-->", content, 1)
    return filled


def script_mb(filled: str) -> float:
    """Return the megabytes of a page that the script takes which draws its figures."""
    return len(get_plotlyjs().encode()) / 1e6 if FIGURE in filled else 0.0


def paragraph(content: str, style: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{style}">{text(content)}</p>' if style else f"<p>{text(content)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell | str]], name: str = "") -> str:
    """Return a table that sorts by a click on its head; strings are plain text."""
    heads = "".join(f'<th scope="col"><button type="button">{text(heading)}</button></th>' for heading in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table{f" id={name!r}" if name else ""}><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{text(cell)}</td>"
    number = ' class="number"' if isinstance(cell.by, int | float) else ""
    return f'<td{number} data-by="{text(cell.by)}">{cell.shown}</td>'


def number(value: float | None, shown: str) -> Cell:
    """Return a cell that sorts as a number; one that is not known comes last."""
    return Cell(text(shown) if value is not None else "–", float("-inf") if value is None else float(value))


def whisker(interval: Interval, low: float, high: float) -> str:
    """Return an interval drawn on a scale from low to high."""
    span = (high - low) or 1
    left, right, dot = (100 * (value - low) / span for value in (interval.low, interval.high, interval.value))
    return (
        f'<svg class="whisker" viewBox="-3 0 106 14" role="img" aria-label="{interval}">'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="7" y2="7"/><circle cx="{dot:.1f}" cy="7" r="3.5"/></svg>'
    )


def figure(name: str, drawn: go.Figure) -> str:
    """Return a figure, which the page's script draws."""
    content = drawn.to_json().replace("</", "<\\/")
    return (
        f'<div class="figure"><div id="{name}" style="min-height:{drawn.layout.height}px"></div></div>'
        f'<script type="application/json" {FIGURE}"{name}">{content}</script>'
    )


def facts(values: Sequence[tuple[str, str, str]]) -> str:
    """Return key numbers: (what, value, more) each."""
    cards = "".join(
        f'<div class="fact"><span>{text(what)}</span><b>{text(value)}</b><small>{text(more)}</small></div>'
        for what, value, more in values
    )
    return f'<div class="facts">{cards}</div>'


def gallery(shown: Sequence[Picture], classes: Classes) -> str:
    """Return photos beside their truth and prediction."""
    palette = colours(classes)
    cards = "".join(
        '<figure class="photo"><div>'
        f"{_image(picture.photo, f'photo {picture.file_name}')}{_image(picture.truth, 'truth', palette)}"
        f"{_image(picture.prediction, 'prediction', palette)}</div><figcaption><b>{text(picture.file_name)}</b> "
        f"mIoU {picture.miou:.2f}, {picture.wrong:.0%} of pixels wrong"
        f"{f'; most: {text(picture.mistake)}' if picture.mistake else ''}</figcaption></figure>"
        for picture in shown
    )
    return f'<div class="gallery">{cards}</div>'


def legend(classes: Classes) -> str:
    """Return the classes' colours."""
    named = "".join(
        f'<span><i style="background:rgb{colour}"></i>{text(name)}</span>'
        for name, colour in zip(classes.names, classes.colours, strict=True)
    )
    return f'<div class="legend">{named}</div>'


def _image(pixels: NDArray[np.uint8], what: str, palette: NDArray[np.uint8] | None = None) -> str:
    """Return a picture of a photo (H, W, 3) or, with a palette, of a mask (H, W)."""
    height, width = pixels.shape[:2]
    if (longer := max(height, width)) > LARGEST:
        height, width = (max(round(side * LARGEST / longer), 1) for side in (height, width))
        how = cv2.INTER_AREA if palette is None else cv2.INTER_NEAREST
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)
    encoded = _jpeg(pixels) if palette is None else _png(palette[pixels])
    return f'<img src="{encoded}" alt="{text(what)}" width="{width}" height="{height}" loading="lazy">'


def _jpeg(photo: NDArray[np.uint8]) -> str:
    content = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _png(picture: NDArray[np.uint8]) -> str:
    content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    return f"data:image/png;base64,{base64.b64encode(content.tobytes()).decode()}"


def listing(lines: Sequence[str]) -> str:
    """Return a list of plain texts."""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"
