"""The categories and annotations of a COCO json, each held to its rules: what breaks one is collected, not raised."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trainable.classes import IGNORE_INDEX, Classes
from trainable.coco.annotations import EMPTY, OutlineError, read_outline
from trainable.coco.ids import Id, as_id
from trainable.coco.images import Images, Listed
from trainable.coco.own_classes import is_tacos, nearest_class
from trainable.counts import agrees, counted
from trainable.data_errors import Note, Problem
from trainable.labelled_photos import Annotation

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

    def names_used(self, annotations: list[Any]) -> dict[str, Id]:
        """Return the names of the categories that annotations use, each with its lowest id."""
        ids = {as_id(each.get("category_id")) for each in annotations if isinstance(each, dict)}
        used: dict[str, Id] = {}
        for category_id in sorted((own for own in ids if own in self.name_of), key=id_order):
            used.setdefault(self.name_of[category_id], category_id)
        return used

    def problems(self, used: Counter[Id], unlisted: bool, classes: Classes) -> Iterator[str]:
        """Yield what is wrong with the categories that annotations use.

        Args:
            used: annotations of each id.
            unlisted: there are annotations of an id that is not listed, perhaps because it cannot be read.
            classes: what they are to be.
        """
        if unlisted:
            yield from self.without_id
            if not self.name_of and not self.without_id:
                yield "lists no categories; list the classes with the ids that annotations use"
        yield from (reason for category_id, reason in self.ambiguous.items() if category_id in used)
        names: Counter[str] = Counter()
        own = {self.name_of[category_id] for category_id in used}
        for category_id, count in used.items():
            if classes.index_of(self.name_of[category_id]) is None:
                names[self.name_of[category_id]] += count
        if len(names) == 1:
            ((name, count),) = names.items()
            hint = f"; did you mean {near!r}?" if (near := nearest_class(name, classes)) else "."
            have = f"{counted(count, 'annotation')} {agrees(count, 'has', 'have')}"
            yield f"unknown category {name!r:.60}{hint} {have} it. {_remedy(own, classes)}"
        elif names:
            described = ", ".join(_described(name, classes) for name, _ in names.most_common(SHOWN))
            others = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            problem = f"{len(names)} categories of annotations are none of the classes: {described}{others}"
            yield f"{problem}. {_remedy(own, classes)}"


def id_order(value: Id) -> tuple[bool, Id]:
    """Return what ids are sorted by: numbers come before texts."""
    return isinstance(value, str), value


def _remedy(used: set[str], classes: Classes) -> str:
    if is_tacos(used):
        return "They are TACO's: --classes taco makes them the competition's classes"
    objects = [classes.names[index] for index in classes.objects]
    names = ", ".join(objects[: 2 * SHOWN]) + (f" and {len(objects) - 2 * SHOWN} more" if objects[2 * SHOWN :] else "")
    return (
        f"The classes are {names}: name each category as the class that it belongs to, or pass --classes FILE, a file "
        "of classes that takes it by 'from' or 'ignore'"
    )


def _described(name: str, classes: Classes) -> str:
    near = nearest_class(name, classes)
    return f"{name!r:.60} (did you mean {near!r}?)" if near else f"{name!r:.60}"


class Annotations:
    """The annotations of a json, sorted by what is to become of them."""

    def __init__(self, file: str, images: Images, categories: Categories, classes: Classes):
        self.file, self.images, self.categories = file, images, categories
        self._indices = {own: classes.index_of(name) for own, name in categories.name_of.items()}
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
                self.problems += [Problem(file_name, f"{self.file}: {text}") for text in texts]
        self._tell_strangers()

    def _read(self, position: int, annotation: Any) -> None:
        if not isinstance(annotation, dict):
            text = f"{self.file}: annotation {position} must be an object, found {annotation!r:.40}"
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
            self.problems.append(Problem(image.file_name, f"{self.file}: {named} {fault}"))

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
        index = self._indices[category_id] or 0  # where it is no class, `problems` tells of it
        void = index == IGNORE_INDEX
        self.sound[image_id].append(Annotation(0 if void else index, outline.rle, bool(ignore) or void))

    def _tell_strangers(self) -> None:
        """Tell of annotations of no listed image; photos that they may belong to are bad as well."""
        for stranger, names in self._strangers.items():
            if not names:
                continue
            others = f" (and so are {len(names) - 1} more)" if len(names) > 1 else ""
            text = f"{names[0]} is of image {stranger}, which is not listed{others}; list it, or mend the id"
            self.problems.append(Problem(f"image {stranger}", f"{self.file}: {text}"))
        for image_id, image in self.images.by_id.items() if self._strangers else ():
            if image_id not in self._named and image.sound:
                text = f"photo {image.file_name} has no annotation, and those of images that are not listed may be its"
                self.problems.append(Problem(image.file_name, f"{self.file}: {text}"))
