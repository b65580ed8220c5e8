"""The categories and annotations of a COCO json, each held to its rules: what breaks one is collected, not raised."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trainable.classes import CLASSES
from trainable.coco.annotations import EMPTY, OutlineError, read_outline
from trainable.coco.ids import Id, as_id
from trainable.coco.images import Images, Listed
from trainable.coco.taco_categories import CLASS_OF
from trainable.counts import agrees, counted
from trainable.data_errors import Note, Problem
from trainable.labelled_photos import Annotation
from trainable.machine.called_as import command_line

SHOWN = 10
"""Names of unknown categories that are listed."""


@dataclass
class Categories:
    """The categories of a json, of which only those that annotations use matter."""

    name_of: dict[Id, str] = field(default_factory=dict)
    ambiguous: dict[Id, str] = field(default_factory=dict)  # ids of several categories, and what is wrong
    without_id: list[str] = field(default_factory=list)  # what is wrong with the others

    @classmethod
    def read(cls, categories: list[Any]) -> "Categories":
        """Read the list of a json."""
        result = cls()
        for category in categories:
            entry = category if isinstance(category, dict) else {}
            category_id, name = as_id(entry.get("id")), entry.get("name")
            name = name if isinstance(name, str) else f"{name!r:.60}"
            if category_id is None:
                result.without_id.append(f"category {name!r:.60} needs a whole number as id")
            elif result.name_of.setdefault(category_id, name) != name:
                result.ambiguous[category_id] = f"category id {category_id} is used twice; ids must differ"
        return result

    def class_index(self, category_id: Id) -> int:
        """Return the class of a listed category; of one that is no class background: `problems` tells of those."""
        name = self.name_of[category_id]
        return CLASSES.index(name) if name in CLASSES else 0

    def problems(self, used: Counter[Id], unlisted: bool) -> Iterator[str]:
        """Yield what is wrong with the categories that annotations use.

        Args:
            used: annotations of each id.
            unlisted: there are annotations of an id that is not listed, perhaps because it cannot be read.
        """
        if unlisted:
            yield from self.without_id
            if not self.name_of and not self.without_id:
                yield "lists no categories; list the classes with the ids that annotations use"
        yield from (reason for category_id, reason in self.ambiguous.items() if category_id in used)
        names: Counter[str] = Counter()
        own = {self.name_of[category_id] for category_id in used}
        for category_id, count in used.items():
            if self.name_of[category_id] not in CLASSES:
                names[self.name_of[category_id]] += count
        if len(names) == 1:
            ((name, count),) = names.items()
            hint = f"; did you mean {near!r}?" if (near := _nearest(name)) else "."
            have = f"{counted(count, 'annotation')} {agrees(count, 'has', 'have')}"
            yield f"unknown category {name!r:.60}{hint} {have} it. {_remedy(names, own)}"
        elif names:
            described = ", ".join(_described(name) for name, _ in names.most_common(SHOWN))
            others = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            problem = f"{len(names)} categories of annotations are none of the classes: {described}{others}"
            yield f"{problem}. {_remedy(names, own)}"


def _remedy(unknown: Counter[str], used: set[str]) -> str:
    if used <= set(CLASS_OF):  # the command refuses any other
        return f"They are TACO's: {command_line('trainable.taco', '--taco', 'DIR')} maps them to the classes"
    renamed = [f"{name!r} to {CLASS_OF[name]!r}" for name, _ in unknown.most_common() if name in CLASS_OF][:SHOWN]
    taco = f". Rename TACO's as trainable/coco/taco_categories.py maps them: {', '.join(renamed)}" if renamed else ""
    return (
        f"The classes are {', '.join(CLASSES[1:])}: name each category as the class that it belongs to; others cannot "
        f"be trained on{taco}"
    )


def _nearest(name: str) -> str | None:
    """Return the class that a name is a misspelling of, or None."""
    spelled = {class_name.casefold(): class_name for class_name in CLASSES[1:]}
    plain = name.strip().casefold().replace("_", " ").replace("-", " ")
    close = get_close_matches(plain, spelled, n=1, cutoff=0.85)
    return spelled[close[0]] if close else None


def _described(name: str) -> str:
    return f"{name!r:.60} (did you mean {near!r}?)" if (near := _nearest(name)) else f"{name!r:.60}"


class Annotations:
    """The annotations of a json, sorted by what is to become of them."""

    def __init__(self, path: Path, images: Images, categories: Categories):
        self.path, self.images, self.categories = path, images, categories
        self.sound: dict[Id, list[Annotation]] = {image_id: [] for image_id in images.by_id}
        self.problems: list[Problem] = []
        self.notes: list[Note] = []
        self.used: Counter[Id] = Counter()  # category ids
        self.unlisted = False  # some have a category id that is not listed
        self._empty: dict[Id, list[str]] = {}  # texts of those without an outline
        self._strangers: dict[str, list[str]] = {}  # names of those of no listed image, by what they say it is
        self._named: set[Id] = set()  # image ids that have an annotation, sound or not

    def read(self, annotations: list[Any]) -> None:
        """Read the list of the json."""
        for position, annotation in enumerate(annotations):
            self._read(position, annotation)
        for image_id, texts in self._empty.items():
            file_name = self.images.by_id[image_id].file_name
            if self.sound[image_id]:
                self.notes += [Note(EMPTY, text) for text in texts]
            else:  # without them it would be all background
                self.problems += [Problem(file_name, f"{self.path.name}: {text}") for text in texts]
        self._tell_strangers()

    def _read(self, position: int, annotation: Any) -> None:
        if not isinstance(annotation, dict):
            text = f"{self.path.name}: annotation {position} must be an object, found {annotation!r:.40}"
            self.problems.append(Problem(f"annotation {position}", text))
            self._strangers.setdefault("", [])
            return
        own_id, image_id = annotation.get("id"), as_id(annotation.get("image_id"))
        name = f"annotation {own_id!r:.40}" if own_id is not None else f"annotation at position {position}"
        if image_id is None or image_id not in self.images.by_id:
            if image_id not in self.images.unusable:
                self._strangers.setdefault(f"{annotation.get('image_id')!r:.40}", []).append(name)
            return
        self._named.add(image_id)
        image = self.images.by_id[image_id]
        named = f"{name} of {image.file_name}"
        try:
            self._add(annotation, image_id, image, named)
        except OutlineError as fault:
            self.problems.append(Problem(image.file_name, f"{self.path.name}: {named} {fault}"))

    def _add(self, annotation: dict[str, Any], image_id: Id, image: Listed, named: str) -> None:
        category_id, ignore = as_id(annotation.get("category_id")), annotation.get("ignore", 0)
        if category_id is None or category_id not in self.categories.name_of:
            self.unlisted = True
            if not self.categories.name_of:  # told once, as no annotation has one
                return
            ids = ", ".join(map(str, self.categories.name_of))
            raw_id = f"{annotation.get('category_id')!r:.40}"
            raise OutlineError(f"has category id {raw_id}, which is not listed; the ids are {ids}")
        self.used[category_id] += 1
        if ignore not in (0, 1):
            raise OutlineError(f"has ignore {ignore!r:.40}; it is 1 for pixels to leave out, otherwise 0")
        outline = read_outline(annotation.get("segmentation"), image.height, image.width)
        if outline.rle is None:
            self._empty.setdefault(image_id, []).append(f"{named} {outline.left_out}")
            return
        self.notes += [Note(kind, named) for kind in outline.mended]
        class_index = self.categories.class_index(category_id)
        self.sound[image_id].append(Annotation(class_index, outline.rle, bool(ignore)))

    def _tell_strangers(self) -> None:
        """Tell of annotations of no listed image; photos that they may belong to are bad as well."""
        for stranger, names in self._strangers.items():
            if not names:
                continue
            others = f" (and so are {len(names) - 1} more)" if len(names) > 1 else ""
            text = f"{names[0]} is of image {stranger}, which is not listed{others}; list it, or mend the id"
            self.problems.append(Problem(f"image {stranger}", f"{self.path.name}: {text}"))
        for image_id, image in self.images.by_id.items() if self._strangers else ():
            if image_id not in self._named and image.sound:
                text = f"photo {image.file_name} has no annotation, and those of images that are not listed may be its"
                self.problems.append(Problem(image.file_name, f"{self.path.name}: {text}"))
