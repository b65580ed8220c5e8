"""What follows from the facts of a data set, in words: what it is, what to mind, and the command that suits it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainable.classes import sides
from trainable.counts import agrees, counted
from trainable.data_facts.facts import DataFacts
from trainable.dataset.folds import both_sides_text
from trainable.geometry import MULTIPLE, SIZE_ON_GPU, shape_text
from trainable.machine.called_as import command_line

TINY = 8
"""Pixels in training: of an object with smaller sides little is left where networks see most, at a quarter of it."""

LARGEST = 768
"""Pixels in training beyond which crops are advised: photos as large leave no room for a batch on most GPUs."""

RARE = 10
"""Photos: a class on fewer has two at most in each of five folds."""

ALIKE, KNOWN = 0.25, 0.02
"""Share of the photos in one scene from which on five folds are uneven, and of the photos that validate in scenes that
train too from which on that is told first."""

FEW_OBJECTS = 5
"""Objects: of fewer no median is told."""

IGNORED, PADDED, ENLARGED = 0.2, 0.35, 1.25
"""Shares of pixels without a class, and of padding, and times that photos are enlarged, from which on they are told."""


@dataclass(frozen=True)
class Advice:
    """One thing to mind."""

    text: str
    options: tuple[str, ...] = ()  # of the search that heeds it
    warning: bool = False  # whether scores suffer


def summary(facts: DataFacts) -> str:
    """Return in one line what a data folder was read as."""
    classes, root = facts.classes, facts.dataset.root
    count = len(classes.objects)
    told = f"{count} {agrees(count, 'class', 'classes')} {'and' if classes.background else 'without'} background"
    parts = [
        f"{root.name}: {facts.dataset.format}, {counted(len(facts), 'photo')} of {sizes(facts)}",
        told,
    ]
    if facts.ignored >= 0.0005:
        parts.append(f"{facts.ignored:.1%} ignored")
    if facts.gives_split:
        parts.append("train/val given by the data")
    return ", ".join(parts)


def sizes(facts: DataFacts) -> str:
    """Return the sizes of the photos as width x height: one, or the smallest and the largest."""
    by_pixels = sorted({(int(h * w), int(w), int(h)) for h, w in facts.photo_sizes})
    shown = [f"{width}x{height}" for _, width, height in (by_pixels[0], by_pixels[-1])]
    return shown[0] if len(by_pixels) == 1 else " to ".join(shown)


def advice(facts: DataFacts) -> list[Advice]:
    """Return what to mind of a data set, the most important first; there is something always."""
    checks = (_alike, _shared, _absent, _rare, _tiny, _ignored, _padding, _mirror, _enlarged, _few_shared)
    return [told for check in checks if (told := check(facts))] + [_rarest(facts)]


def run_command(facts: DataFacts, gpu: bool, given: Sequence[str] = ()) -> str:
    """Return the command of a search that suits the data.

    Args:
        facts: of the data.
        gpu: whether the machine has one; without it a search among networks takes days.
        given: options of the user's, which go before advice.
    """
    words = ["--space", "joint"] if gpu else ["--space", "losses"]
    words += ["--data", str(facts.dataset.root), *given]
    words += [] if gpu else ["--encoder", "mobilenet_v2", "--encoder-weights", "imagenet"]
    for told in advice(facts):
        words += [] if told.options[:1] and told.options[0] in words else told.options
    return command_line("search/run.py", *words)


def _alike(facts: DataFacts) -> Advice | None:
    return alike(facts, len(facts.large_scenes[0])) if facts.large_scenes else None


def alike(facts: DataFacts, largest: int) -> Advice | None:
    """Return what to mind where so many photos look alike that folds come out uneven.

    Args:
        facts: of the data.
        largest: photos of the largest scene.
    """
    if largest <= ALIKE * len(facts):
        return None
    few = str(max(len(facts) // largest, 2))
    remedy = f"--folds {few} is more even, and photos of other scenes would help"
    if facts.gives_split:
        remedy = "if they are of different things, --folds given, the data's own split, is better than such folds"
    return Advice(
        f"{largest} of {len(facts)} photos look alike and share a fold, which is then larger than the others: {remedy}",
        ("--folds", "given" if facts.gives_split else few),
        warning=True,
    )


def _shared(facts: DataFacts) -> Advice | None:
    """Tell of scenes on both sides of the data's split, where they are many."""
    told = shared_scenes(facts)
    return Advice(told, warning=True) if told and known_photos(facts) >= KNOWN * facts.splits["val"] else None


def _few_shared(facts: DataFacts) -> Advice | None:
    told = shared_scenes(facts)
    return Advice(told) if told and not _shared(facts) else None


def shared_scenes(facts: DataFacts) -> str:
    """Return what scenes on both sides of the data's own split mean, empty where there are none."""
    count = len(facts.shared_scenes)
    return both_sides_text(count, known_photos(facts), facts.splits["val"]) if count else ""


def known_photos(facts: DataFacts) -> int:
    """Return how many photos that validate look like one that trains."""
    return sum(facts.dataset.given.get(facts.file_names[at]) == "val" for scene in facts.shared_scenes for at in scene)


def _absent(facts: DataFacts) -> Advice | None:
    absent = [facts.classes.names[index] for index in np.flatnonzero(facts.photos_with == 0)]
    if not absent:
        return None
    return Advice(
        f"no photo shows {listed(absent)}: nothing can learn {agrees(len(absent), 'it', 'them')}; leave "
        f"{agrees(len(absent), 'it', 'them')} out by --classes FILE, or add photos",
        warning=True,
    )


def _rare(facts: DataFacts) -> Advice | None:
    order = [index for index in np.argsort(facts.photos_with, kind="stable") if 0 < facts.photos_with[index] < RARE]
    if not order or len(facts) < 3 * RARE:
        return None
    told = [f"{facts.classes.names[index]} ({facts.photos_with[index]})" for index in order]
    return Advice(
        f"{agrees(len(told), 'a class is', f'{len(told)} classes are')} on fewer than {RARE} of {len(facts)} photos: "
        f"{listed(told)}. Their IoU is mostly chance, and counts as much as any other class's: add photos of "
        f"{agrees(len(told), 'it', 'them')}, or merge {agrees(len(told), 'it', 'them')} with another class by "
        "--classes FILE",
        warning=True,
    )


def medians(facts: DataFacts) -> dict[int, float]:
    """Return, by the index of each class of some objects, the median of their sides in pixels in training."""
    of_class = {index: facts.sides[facts.objects.class_index == index] for index in facts.classes.objects}
    return {index: float(np.median(own)) for index, own in of_class.items() if len(own) >= FEW_OBJECTS}


def tiny_classes(facts: DataFacts) -> list[tuple[int, float]]:
    """Return the index of each class of which half of the objects are smaller than TINY in training, and their median.

    The smallest first.
    """
    return sorted((each for each in medians(facts).items() if each[1] < TINY), key=lambda each: each[1])


def _tiny(facts: DataFacts) -> Advice | None:
    tiny = tiny_classes(facts)
    if not tiny:
        return None
    told = [f"{facts.classes.names[index]} (median {median:.1f} px)" for index, median in tiny]
    have = (
        f"in training at {shape_text(facts.frame)} px half of the objects of {listed(told)} are smaller than "
        f"{TINY}x{TINY} px"
    )
    own = int(np.median(facts.photo_sizes.max(axis=1)))
    needed = min(_multiple(facts.image_size * TINY / tiny[0][1]), _multiple(own))
    if needed <= facts.image_size:
        return Advice(
            f"{have}, though photos are not shrunk: photos of more pixels would help, and so may a larger --image-size"
        )
    options = ["--image-size", str(needed)]
    if needed > LARGEST:
        options += ["--tile-size", str(SIZE_ON_GPU)]
    cost = f"for {(needed / facts.image_size) ** 2:.2g} times the time"
    how = f"{' '.join(options)} shows more of them" + (", in crops" if needed > LARGEST else f", {cost}")
    return Advice(f"{have}: {how}", tuple(options), warning=True)


def _multiple(side: float) -> int:
    return max(int(np.ceil(side / MULTIPLE - 1e-6)), 1) * MULTIPLE


def _ignored(facts: DataFacts) -> Advice | None:
    if facts.ignored < IGNORED:
        return None
    return Advice(
        f"{facts.ignored:.0%} of the pixels have no class: they neither train nor count. If they are background, name "
        "it by --classes FILE"
    )


def _padding(facts: DataFacts) -> Advice | None:
    if facts.padding < PADDED:
        return None
    return Advice(
        f"{facts.padding:.0%} of a training photo of {shape_text(facts.frame)} px is padding, as the photos have other "
        "aspects: --image-size HxW, the aspect of most, wastes less where a few photos differ"
    )


def _mirror(facts: DataFacts) -> Advice | None:
    alone = sides(facts.classes.names)[1]
    if facts.classes.may_mirror or not alone:
        return None
    return Advice(
        f"photos are never mirrored, as {listed(alone)} {agrees(len(alone), 'has', 'have')} no class of the other side;"
        " where a mirror does no harm, say so by --classes FILE with a list 'mirror'"
    )


def _enlarged(facts: DataFacts) -> Advice | None:
    if facts.enlarged < ENLARGED or any(median < TINY * facts.enlarged for median in medians(facts).values()):
        return None
    own = _multiple(float(np.median(facts.photo_sizes.max(axis=1))))
    return Advice(
        f"photos are enlarged {facts.enlarged:.1f} times to {shape_text(facts.frame)} px: --image-size {own} is about "
        f"their own size and takes {(own / facts.image_size) ** 2:.0%} of the time"
    )


def _rarest(facts: DataFacts) -> Advice:
    photos = np.where(facts.photos_with > 0, facts.photos_with, len(facts) + 1)
    index = int(np.lexsort((facts.pixel_shares, photos))[0]) if photos.min() < len(facts) else _least(facts)
    return Advice(
        f"the rarest class is {facts.classes.names[index]}: on {facts.photos_with[index]} of {len(facts)} photos, "
        f"{share(float(facts.pixel_shares[index]))} of the pixels"
    )


def _least(facts: DataFacts) -> int:
    return int(np.argmin(np.where(facts.photos_with > 0, facts.pixel_shares, 2.0)))


def share(value: float) -> str:
    """Return a share in per cent, with as many digits as tell it from none."""
    if value == 0:
        return "0%"
    if value >= 0.0995:
        return f"{value:.0%}"
    return f"{value:.1%}" if value >= 0.001 else f"{100 * value:.1g}%"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names in a row, the first of many."""
    shown = list(names[:most]) if len(names) > most + 1 else list(names)
    if len(shown) < len(names):
        return f"{', '.join(shown)} and {len(names) - len(shown)} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
