"""What the pixels of a data set are told apart as: classes by name, colour and index.

The competition's are `COMPETITION`. Others come from the data (`trainable/formats`) or from a file (`--classes FILE`):

    {"classes": [{"name": "Paper", "colour": "#f0f0f0", "from": ["Magazine paper", "Tissues"]}, "Metal", ...],
     "background": "Background",       the class of what nothing covers; null where each pixel is labelled
     "ignore": ["Unlabeled litter"],   names in the data whose pixels neither train nor count
     "mirror": [["left door", "right door"]]}   classes that change places in a mirror; false: never mirror a photo

A class takes the pixels that the data gives its own name and the names in `from`.
"""

import colorsys
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trainable.spelling import did_you_mean

IGNORE_INDEX = 255
"""Mask value of pixels that neither the loss nor a metric looks at: those of annotations with `"ignore": 1`, of the
data's void, and of padding."""

METRIC = "val_miou"

MOST = 200
"""Classes: a mask is a byte a pixel, and some values are for other use."""

BUILT_IN = Path(__file__).parent / "class_files"
"""Files that `--classes` knows by name alone."""

Colour = tuple[int, int, int]

BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__", "bg"})
VOID_NAMES = frozenset({"void", "ignore", "ignored", "__ignore__", "unlabelled", "unlabeled"})
"""What data calls pixels of no object, and those of no known class, in lower case."""

SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
"""What makes a name another in a mirror: `left_mirror`, `front-right door`; not `copyright`."""


@dataclass(frozen=True)
class Classes:
    """Classes by index, and what of the data belongs to each."""

    names: tuple[str, ...]
    background: bool = True  # whether class 0 is what nothing covers; else such pixels are ignored
    colours: tuple[Colour, ...] = ()  # one for each; made up where not given
    sources: dict[str, int] = field(default_factory=dict)  # index, or IGNORE_INDEX, by what else the data may call it
    mirror: tuple[tuple[int, int], ...] = ()  # pairs that change places in a mirror
    may_mirror: bool = True  # False where a mirrored photo is none of this world

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            ValueError: one is broken.
        """
        if not 2 <= len(self.names) <= MOST:
            raise ValueError(f"there must be 2 to {MOST} classes, found {len(self.names)}: {', '.join(self.names)}")
        for name in self.names:
            if not isinstance(name, str) or not name.strip() or not name.isprintable() or "," in name:
                raise ValueError(f"a class name is a text of printable characters without commas, found {name!r:.60}")
        if repeated := {name for name in self.names if self.names.count(name) > 1}:
            raise ValueError(f"class names must differ, found {sorted(repeated)[0]!r} twice")
        if self.colours and len(self.colours) != len(self.names):
            raise ValueError(f"{len(self.names)} classes need as many colours, found {len(self.colours)}")
        if not self.colours:
            object.__setattr__(self, "colours", distinct_colours(len(self.names), self.background))
        paired = [index for pair in self.mirror for index in pair]
        if len(set(paired)) < len(paired):
            raise ValueError("a class can change places with one other in a mirror, found one in two pairs")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def objects(self) -> range:
        """The classes but background."""
        return range(int(self.background), len(self.names))

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """The class of each class's pixels in a mirror."""
        other = {**dict(self.mirror), **{b: a for a, b in self.mirror}}
        return tuple(other.get(index, index) for index in range(len(self.names)))

    def index_of(self, source: str) -> int | None:
        """Return the class of what the data calls `source`: IGNORE_INDEX for none, None where nobody has said."""
        if source in self.sources:
            return self.sources[source]
        return self.names.index(source) if source in self.names else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that json can hold, as a file for `--classes` has it."""
        taken: dict[int, list[str]] = {}
        for name, index in self.sources.items():
            taken.setdefault(index, []).append(name)
        entries = [
            {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "from": taken.get(index, [])}
            for index, (name, colour) in enumerate(zip(self.names, self.colours, strict=True))
        ]
        return {
            "classes": entries,
            "background": self.names[0] if self.background else None,
            "ignore": taken.get(IGNORE_INDEX, []),
            "mirror": [[self.names[a], self.names[b]] for a, b in self.mirror] if self.may_mirror else False,
        }

    @classmethod
    def from_dict(cls, content: Any) -> "Classes":
        """Return what `to_dict` or a user has written; background comes first whatever its place.

        Raises:
            ValueError: a rule is broken.
        """
        if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
            raise ValueError("a classes file is an object with a list 'classes'")
        known = ["classes", "background", "ignore", "mirror"]
        for key in content:
            if key not in known:
                raise ValueError(f"unknown key {key!r} in the classes{did_you_mean(key, known)}")
        entries = [_entry(entry) for entry in content["classes"]]
        names = [entry["name"] for entry in entries]
        background = content.get("background")
        if background is not None and not isinstance(background, str):
            raise ValueError(f"background is the name of a class, or null, found {background!r:.60}")
        if background is not None and background not in names:
            entries, names = [{"name": background}, *entries], [background, *names]
        if background is not None:  # comes first
            entries.sort(key=lambda entry: entry["name"] != background)
            names = [entry["name"] for entry in entries]
        made_up = distinct_colours(len(names), background is not None)
        colours = tuple(
            _colour(entry["colour"]) if "colour" in entry else own for entry, own in zip(entries, made_up, strict=True)
        )
        sources: dict[str, int] = {}
        taken = [(source, index) for index, entry in enumerate(entries) for source in _texts(entry.get("from", []))]
        for source, index in [*taken, *((source, IGNORE_INDEX) for source in _texts(content.get("ignore", [])))]:
            if sources.setdefault(source, index) != index or (source in names and names.index(source) != index):
                raise ValueError(f"{source!r} belongs to two classes; name it once")
            sources[source] = index
        mirror = content.get("mirror", [])
        return cls(
            tuple(names), background is not None, colours, sources, _pairs(mirror or [], names), mirror is not False
        )

    @classmethod
    def from_file(cls, path: Path) -> "Classes":
        """Read a classes file, or one of those that come with the product, by its name.

        Raises:
            ValueError: it is none.
        """
        built_in = BUILT_IN / f"{path}.json"
        if not path.exists() and not is_built_in(str(path)):
            known = ", ".join(sorted(each.stem for each in BUILT_IN.glob("*.json")))
            raise ValueError(f"the classes file {path} does not exist; name a json file, or one of {known}")
        path = path if path.exists() else built_in
        try:
            return cls.from_dict(json.loads(path.read_text("utf-8-sig")))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"classes file {path}: {error}") from None

    @classmethod
    def of_names(
        cls,
        names: Sequence[str],
        background: bool,
        colours: Sequence[Colour] = (),
        sources: dict[str, int] | None = None,
    ) -> "Classes":
        """Return classes of a data set's own names, those of left and right being each other's in a mirror."""
        pairs, alone = sides(names)
        return cls(tuple(names), background, tuple(colours), sources or {}, pairs, not alone)


def is_built_in(name: str) -> bool:
    """Tell whether `--classes NAME` comes with the product."""
    return name in {path.stem for path in BUILT_IN.glob("*.json")}


def is_background(name: str) -> bool:
    """Tell whether a name in the data is that of what no object covers."""
    return name.strip().casefold() in BACKGROUND_NAMES


def is_void(name: str) -> bool:
    """Tell whether a name in the data is that of pixels to ignore."""
    return name.strip().casefold() in VOID_NAMES


def sides(names: Sequence[str]) -> tuple[tuple[tuple[int, int], ...], list[str]]:
    """Return the pairs of classes that are each other's in a mirror by their names, and names of sides without one."""
    places = {name.casefold(): index for index, name in enumerate(names)}
    pairs, alone = [], []
    for index, name in enumerate(names):
        if not SIDES.search(name):
            continue
        other = places.get(SIDES.sub(lambda side: {"left": "right", "right": "left"}[side[0].lower()], name).casefold())
        if other is None:
            alone.append(name)
        elif index < other:
            pairs.append((index, other))
    return tuple(pairs), alone


def distinct_colours(count: int, background: bool = True) -> tuple[Colour, ...]:
    """Return colours apart from each other: hues by the golden ratio, in three lightnesses; background is dark."""
    colours = [
        tuple(
            round(255 * part) for part in colorsys.hls_to_rgb(index * 0.618034 % 1, (0.55, 0.72, 0.38)[index % 3], 0.7)
        )
        for index in range(count - background)
    ]
    return ((40, 40, 40), *colours)[not background :]  # type: ignore[return-value]


def _entry(entry: Any) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"name": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(f"a class is a name or an object with a 'name', found {entry!r:.60}")
    for key in entry:
        if key not in ("name", "colour", "from"):
            raise ValueError(
                f"unknown key {key!r} of class {entry['name']!r}{did_you_mean(key, ['name', 'colour', 'from'])}"
            )
    return entry


def _colour(value: Any) -> Colour:
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:], 16)
    raise ValueError(f"a colour is written #rrggbb, found {value!r:.60}")


def _texts(value: Any) -> Iterable[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"'from' and 'ignore' are lists of names in the data, found {value!r:.60}")
    return value


def _pairs(value: Any, names: list[str]) -> tuple[tuple[int, int], ...]:
    rule = "'mirror' is false or a list of pairs of class names"
    if not isinstance(value, list):
        raise ValueError(f"{rule}, found {value!r:.60}")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(f"{rule}, found {pair!r:.60}")
        for name in pair:
            if name not in names:
                raise ValueError(f"{rule}, found {name!r:.60}{did_you_mean(str(name), names)}")
    return tuple((names.index(a), names.index(b)) for a, b in value)


COMPETITION = Classes.from_file(Path("competition"))
"""The classes of the competition. Background is what no annotation covers."""

CLASSES = COMPETITION.names
