"""What a search has written of itself in `search.json`, as everything else reads it.

`search/preparation/data_setup.py` writes it, with a format number that `trainable/storage/record_checks.py` has.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from trainable.classes import COMPETITION, Classes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry


@dataclass(frozen=True)
class Extension:
    """What a search was before it was extended once, and by what it was."""

    when: float  # seconds since 1970
    trials: int
    again: tuple[int, ...]  # stopped trials that may go on
    command: str = ""  # that extended it
    commit: str | None = None
    space: str = "?"
    stopper: str = "asha"

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Extension":
        """Return one of those in a `search.json` that keeps `search_rule`."""
        values = {name: content[name] for name in (attribute.name for attribute in fields(cls)) if name in content}
        return cls(**{**values, "again": tuple(content["again"])})


@dataclass(frozen=True)
class SearchRecord:
    """The plan of a search, and the hashes of what it searched on."""

    space: str
    trials: int
    data: str | None  # a folder or a URI; None is the demo data
    cache_dir: Path
    skip_bad: bool
    folds: int
    extra: str | None  # further photos, which only train
    stopper: str  # what decides that a trial does not go on
    base: dict[str, Any]  # the config of a trial for which the space decides nothing
    given: tuple[str, ...]  # where the configs come from, if they are given one by one
    data_hash: str | None  # of the annotations; None in records of before it was kept
    folds_hash: str | None
    extended: tuple[Extension, ...]  # oldest first
    classes: Classes  # of the data
    geometry: Geometry  # of the photos
    content: dict[str, Any]  # all of the file

    @classmethod
    def of(cls, content: dict[str, Any]) -> "SearchRecord":
        """Return the record in a `search.json` that keeps `search_rule`; what older ones lack is what held then."""
        plan = content["plan"]
        return cls(
            space=plan.get("space", "?"),
            trials=plan["trials"],
            data=plan.get("data"),
            cache_dir=Path(plan.get("cache_dir", "")),
            skip_bad=plan.get("skip_bad", False),
            folds=plan.get("folds", 5),
            extra=plan.get("extra"),
            stopper=plan.get("stopper", "asha"),
            base=plan["base"],
            given=tuple(plan.get("given", ())),
            data_hash=content.get("data_hash"),
            folds_hash=content.get("folds_hash"),
            extended=tuple(Extension.of(extension) for extension in content.get("extended", ())),
            classes=_classes(content),
            geometry=Geometry.from_dict(plan["geometry"]) if plan.get("geometry") else COMPETITION_GEOMETRY,
            content=content,
        )

    @property
    def epochs(self) -> int:
        """The full budget of a trial."""
        return int(self.base["epochs"])

    @property
    def image_size(self) -> int:
        """Pixels per side, where the space does not choose."""
        return int(self.base["image_size"])

    @property
    def fold(self) -> int | None:
        """The fold that validates."""
        return self.base.get("fold")


def _classes(content: dict[str, Any]) -> Classes:
    """Return the classes; runs of before knew their names alone, and those of before that had the competition's."""
    if table := content["plan"].get("class_table"):
        return Classes.from_dict(table)
    names = content.get("classes")
    if not isinstance(names, list) or tuple(names) == COMPETITION.names:
        return COMPETITION
    return Classes.of_names(names, background=True)


def is_of_competition(classes: Classes, geometry: Geometry) -> bool:
    """Tell whether classes and frame are those of a submission csv; other runs write masks."""
    score = (geometry.score, geometry.stretched)
    return classes.names == COMPETITION.names and score == (COMPETITION_GEOMETRY.score, COMPETITION_GEOMETRY.stretched)


def data_options(classes: Classes, geometry: Geometry, file: str) -> list[str]:
    """Return the options by which a command reads the same classes, kept in a file, and is scored at the same place."""
    own = [] if classes == COMPETITION else ["--classes", file]
    # Without the option classes of one's own are scored at the photos' own size.
    return own if is_of_competition(classes, geometry) else [*own, "--score-size", geometry.score_option]
