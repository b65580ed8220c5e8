"""What the page on a data set tells, one function per section; each returns html."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.reporting import page
from analysis.reporting.data_pictures import legend, pairs, samples, thumbnails, with_masks
from analysis.reporting.page import Cell, listing, number, paragraph, text
from trainable.classes import IGNORE_INDEX, distinct_colours, sides
from trainable.counts import agrees, counted
from trainable.data_errors import data_notes
from trainable.data_facts.advice import (
    TINY,
    Advice,
    listed,
    medians,
    share,
    shared_scenes,
    sizes,
    summary,
)
from trainable.data_facts.facts import DataFacts
from trainable.data_facts.problem_kinds import by_kind

MOST_SIZES = 12
"""Sizes of photos that are told."""

MOST_NAMED = 200
"""Photos that are named in a list."""

SCENES, OF_SCENE = 3, 6
"""Largest scenes that are shown, and photos of each."""

PAIRS = 6
"""Scenes on both sides of the split that are shown."""


def head(facts: DataFacts, told: Sequence[Advice], command: str) -> str:
    """What was read, the key numbers, what to mind, and the command that suits it."""
    parts = [f"<h1>{text(facts.dataset.root.name)}</h1>", paragraph(f"{summary(facts)}.", "quiet")]
    if count := len({problem.file_name for problem in facts.dataset.problems}):
        what = f"{counted(count, 'photo or entry')}" if count == 1 else f"{count} photos or entries"
        parts.append(
            paragraph(f"{what} cannot be used: see Problems. The rest of the page is about the others.", "note")
        )
    parts.append(page.facts(_key_numbers(facts)))
    parts.append("<h3>What to mind</h3>")
    parts += [_words(each.text, "note" if each.warning else "") for each in told]
    parts.append(f"<h3>A search that suits it</h3><p><code>{_unbroken(command)}</code></p>")
    return "".join(parts)


def _key_numbers(facts: DataFacts) -> list[tuple[str, str, str]]:
    objects = len(facts.objects.area)
    split = ", ".join(f"{count} {name}" for name, count in sorted(facts.splits.items()))
    own = facts.classes.background
    part = "" if facts.objects.looked_at == len(facts) else f"of {facts.objects.looked_at} photos"
    return [
        ("Photos", str(len(facts)), split or "no split given by the data"),
        ("Classes", str(len(facts.classes.objects)), "and background" if own else "without background"),
        ("Objects", f"{objects:,}", part or f"{objects / len(facts):.1f} a photo"),
        ("Ignored", share(facts.ignored), "of the pixels have no class"),
        (
            "Scenes of several photos",
            str(len(facts.large_scenes)),
            f"{counted(facts.identical, 'photo')} {agrees(facts.identical, 'looks', 'look')} the same as another",
        ),
        ("Problems", str(len({problem.text for problem in facts.dataset.problems})), "photos or entries left out"),
    ]


def sample_photos(facts: DataFacts, count: int) -> str:
    """Photos beside their masks."""
    explanation = "Photos that show all classes, the rarest first, then some of many classes. Do the masks fit?"
    shown = with_masks(facts, samples(facts, count))
    return paragraph(explanation) + legend(facts.classes, facts.ignored > 0) + shown


def classes(facts: DataFacts) -> str:
    """Each class: where it comes from, and its share."""
    objects = np.bincount(facts.objects.class_index, minlength=len(facts.classes))
    titles = ["class", "in the data", "pixels", "photos", *(facts.splits if facts.gives_split else ()), "objects"]
    titles += ["in a mirror"] if facts.classes.mirror else []
    rows = [_class_row(facts, index, int(objects[index])) for index in range(len(facts.classes))]
    return listing(_class_words(facts)) + page.table(titles, rows, "classes")


def _class_row(facts: DataFacts, index: int, objects: int) -> list[Cell | str]:
    known, photos = facts.classes, int(facts.photos_with[index])
    name, colour, pixels = known.names[index], known.colours[index], float(facts.pixel_shares[index])
    swatch = (
        '<i style="display:inline-block;width:.9rem;height:.9rem;margin-right:.5rem;vertical-align:-.1rem;'
        f'border-radius:.2rem;border:1px solid #8888;background:rgb{colour}"></i>'
    )
    row: list[Cell | str] = [Cell(f"{swatch}{text(name)}", name), _sources(facts, index)]
    row += [_bar(pixels, share(pixels)), _bar(photos / len(facts), str(photos))]
    if facts.gives_split:
        row += [number(count, str(count)) for count in _by_split(facts, index)]
    row.append(number(objects, str(objects)) if index in known.objects else "")
    if known.mirror:
        other = known.mirrored[index]
        row.append(known.names[other] if other != index else "")
    return row


def _by_split(facts: DataFacts, index: int) -> list[int]:
    has = [
        facts.dataset.given.get(name)
        for name, there in zip(facts.file_names, facts.class_pixels[:, index] > 0, strict=True)
        if there
    ]
    return [has.count(split) for split in facts.splits]


def _sources(facts: DataFacts, index: int) -> Cell:
    if facts.classes.background and index == 0:
        return Cell("what nothing else covers", "")
    names = [source for source, meant in facts.classes.sources.items() if meant == index]
    shown = listed([facts.classes.names[index], *names], 6)
    return Cell(f'<span class="long">{text(shown)}</span>', shown)


def _bar(part: float, shown: str) -> Cell:
    filled = f"linear-gradient(to right,var(--accent) {100 * part:.1f}%,var(--line) {100 * part:.1f}%)"
    bar = (
        '<i style="display:inline-block;width:5rem;height:.5rem;margin-left:.6rem;border-radius:.25rem;'
        f'print-color-adjust:exact;background:{filled}"></i>'
    )
    return Cell(f"{text(shown)}{bar}", part)


def _class_words(facts: DataFacts) -> list[str]:
    known = facts.classes
    words = [
        f"Class 0, {known.names[0]}, is what no object covers."
        if known.background
        else "There is no background: pixels that no class covers are ignored."
    ]
    ignored = [source for source, meant in known.sources.items() if meant == IGNORE_INDEX]
    if ignored or facts.ignored:
        named = f", among them what the data calls {listed(ignored, 8)}" if ignored else ""
        words.append(f"{share(facts.ignored)} of the pixels are ignored: they neither train nor count{named}.")
    made_up = known.colours == distinct_colours(len(known), known.background)
    words.append(
        f"Colours are {'made up, as the data has none' if made_up else 'those of the data or of its classes'}."
    )
    words.append(_mirror_words(facts))
    if facts.objects.looked_at < len(facts):
        words.append(f"Objects are counted on {facts.objects.looked_at} photos, spread over all.")
    if any(photo.mask for photo in facts.dataset.photos):
        words.append(
            "An object is a connected piece of a mask; pieces of under 1% of the largest beside them are left out."
        )
    return words


def _mirror_words(facts: DataFacts) -> str:
    known, (_, alone) = facts.classes, sides(facts.classes.names)
    if not known.may_mirror:
        why = f", as {listed(alone)} {agrees(len(alone), 'has', 'have')} no class of the other side" if alone else ""
        return f"Training photos are never mirrored{why}."
    if known.mirror:
        told = listed([f"{known.names[a]} and {known.names[b]}" for a, b in known.mirror], 6)
        return f"A mirrored training photo has these classes exchanged: {told}."
    return "Training photos may be mirrored: no class has a side."


def photo_sizes(facts: DataFacts) -> str:
    """Sizes of photos, and the frame that they train in."""
    (height, width), grown = facts.frame, facts.enlarged
    change = (
        f"shrunk {1 / grown:.1f} times" if grown < 0.95 else f"enlarged {grown:.1f} times" if grown > 1.05 else "kept"
    )
    words = (
        f"In training at --image-size {facts.image_size} each photo lies in a frame of {width}x{height} px, "
        f"where most are {change}. {share(facts.padding)} of the frames is padding, which is black and ignored. "
        f"val_miou is measured at {facts.geometry.score_text}."
    )
    counts = Counter((int(height), int(width)) for height, width in facts.photo_sizes)
    titles = ("width x height", "photos", "width : height", "in training", "padding")
    rows = [_size_row(facts, size, count) for size, count in counts.most_common(MOST_SIZES)]
    more = f"{len(counts) - MOST_SIZES} more sizes are left out." if len(counts) > MOST_SIZES else ""
    return paragraph(words) + page.table(titles, rows, "sizes") + (paragraph(more, "quiet") if more else "")


def _size_row(facts: DataFacts, size: tuple[int, int], count: int) -> list[Cell | str]:
    height, width = size
    rows, columns = facts.geometry.content(size, facts.frame)
    padding = 1 - rows * columns / (facts.frame[0] * facts.frame[1])
    return [
        Cell(f"{width}x{height}", height * width),
        number(count, str(count)),
        number(width / height, f"{width / height:.2f}"),
        Cell(f"{columns}x{rows}", rows * columns),
        number(padding, share(padding)),
    ]


def object_sizes(facts: DataFacts) -> str:
    """Sizes of objects by class."""
    words = (
        "The side of an object is that of a square of as many pixels. One of ten objects is smaller than the first "
        f"figure, and one larger than the last. Of objects below {TINY} px in training little is left where networks "
        "see most, at a quarter of the size."
    )
    titles = ["class", "objects", "side, of the photo: 10%, median, 90%", "10%, px", "median, px", "90%, px"]
    titles.append(f"below {TINY} px")
    median = medians(facts)
    rows = []
    for index in facts.classes.objects:
        own = facts.objects.class_index == index
        if own.any():
            rows.append(_object_row(facts, index, own.nonzero()[0], median.get(index, float(TINY)) < TINY))
    return paragraph(words) + page.table(titles, rows, "objects")


def _object_row(facts: DataFacts, index: int, own: NDArray[np.int64], tiny: bool) -> list[Cell | str]:
    parts, pixels = (np.quantile(values[own], (0.1, 0.5, 0.9)) for values in (facts.side_shares, facts.sides))
    below = float((facts.sides[own] < TINY).mean())
    tag = ' <span class="group">tiny</span>' if tiny else ""
    return [
        facts.classes.names[index],
        number(len(own), str(len(own))),
        Cell(", ".join(map(share, map(float, parts))), float(parts[1])),
        *(number(float(side), f"{side:.1f}" if side < 20 else f"{side:.0f}") for side in pixels),
        Cell(f"{share(below)}{tag}", below),
    ]


def scenes(facts: DataFacts) -> str:
    """Photos that look alike."""
    large = facts.large_scenes
    if not large:
        return paragraph("No two photos look alike.")
    photos = sum(map(len, large))
    words = (
        f"{photos} photos look like others, in {counted(len(large), 'scene')} of several; the largest has "
        f"{len(large[0])} photos. Photos of a scene share a fold, so that none validates what its like has trained. "
        "Photos are compared by a perceptual hash, in all orientations: things of one shape on one ground count as "
        "alike too. Look whether they are."
    )
    parts = [paragraph(words)]
    if told := shared_scenes(facts):
        parts += [_words(told, "note"), "<h3>On both sides of the data's own split</h3>"]
        parts.append(pairs(facts, [facts.nearest_pair(scene) for scene in facts.shared_scenes[:PAIRS]]))
    elif facts.gives_split:
        parts.append(paragraph("None lies on both sides of the data's own split."))
    parts.append("<h3>The largest scenes</h3>")
    for scene in large[:SCENES]:
        parts.append(paragraph(f"{len(scene)} photos{', such as' if len(scene) > OF_SCENE else ''}", "quiet"))
        parts.append(thumbnails(facts, scene[:: max(len(scene) // OF_SCENE, 1)][:OF_SCENE]))
    return "".join(parts)


def odd_photos(facts: DataFacts) -> str:
    """Photos without objects, and those that are blank, black or white."""
    what = f"without any class but {facts.classes.names[0]}" if facts.classes.background else "without any class"
    empty, place = facts.without_objects, {name: at for at, name in enumerate(facts.file_names)}
    parts = [_details(f"{counted(len(empty), 'photo')} {what}", empty) if empty else paragraph(f"No photo is {what}.")]
    odd = {kind: names for kind, names in facts.by_brightness().items() if names}
    for kind, names in odd.items():
        parts.append(_details(f"{counted(len(names), 'photo')} {agrees(len(names), 'is', 'are')} {kind}", names))
        parts.append(thumbnails(facts, [place[name] for name in names[:OF_SCENE]]))
    return "".join(parts) + ("" if odd else paragraph("None is blank, nearly black or nearly white."))


def _details(title: str, lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
    return f"<details><summary>{text(title)}</summary>{listing([*lines[:MOST_NAMED], *more])}</details>"


def problems(facts: DataFacts) -> str:
    """All that is wrong, by kind, and what was mended."""
    kinds = by_kind(facts.dataset.problems)
    parts = []
    if not kinds:
        parts.append(paragraph("Nothing is wrong with the data."))
    else:
        remedy = "A search ends with them. Mend them, or pass --skip-bad to go on without these photos."
        parts.append(paragraph(remedy, "note"))
    for texts in kinds:
        parts.append(paragraph(texts[0]) if len(texts) == 1 else _details(f"{len(texts)} such as: {texts[0]}", texts))
    notes = data_notes(facts.dataset.notes, ())
    if notes:
        parts.append("<h3>Mended or left out</h3>" + listing(notes))
    return "".join(parts)


def provenance(facts: DataFacts, more: Sequence[str]) -> str:
    """What the page was made of."""
    lines = [str(facts.dataset.root), f"{facts.dataset.format}, photos of {sizes(facts)}"]
    return listing([*lines, f"labels and classes: sha256 {facts.dataset.json_hash[:16]}", *more])


def _words(words: str, style: str = "") -> str:
    """Return words as a sentence of a paragraph."""
    return f'<p class="{style}">{_unbroken(words[:1].upper() + words[1:])}.</p>'


def _unbroken(words: str) -> str:
    """Return text as html whose options are not broken at the end of a line."""
    return re.sub(r"--[\w-]+", lambda option: f'<span style="white-space:nowrap">{option[0]}</span>', text(words))
