"""Which runs can be used together: those of the same classes, scored at the same place."""

from collections.abc import Sequence

from trainable.classes import Classes
from trainable.geometry import Geometry
from trainable.run_folder.search_record import SearchRecord


def check_same_scores(named: Sequence[tuple[str, SearchRecord]], what: str = "runs") -> None:
    """See that runs, given by name and record, have the same classes and score.

    Args:
        named: the runs.
        what: they are, in an error.

    Raises:
        ValueError: they have not: what differs, and the remedy.
    """
    for name, record in named[1:]:
        check_pair(named[0][0], named[0][1], name, record, what)


def check_pair(first: str, one: SearchRecord, second: str, other: SearchRecord, what: str = "runs") -> None:
    """See that two runs, or a run and an ensemble, have the same classes and score; see `check_same_scores`."""
    if differing := classes_differ(one.classes, other.classes):
        raise ValueError(
            f"{what} that are used together have the same classes; {first} and {second} have not: {differing}. Name "
            "only those that share them"
        )
    if differing := scores_differ(one.geometry, other.geometry):
        raise ValueError(
            f"{what} that are used together are scored at the same place; {first} and {second} are not: {differing}. "
            "Name only those that share it, or search again with the --score-size of the other"
        )


def classes_differ(one: Classes, other: Classes) -> str:
    """Say in what classes differ; empty where predictions of the one are such of the other."""
    for index, (ours, theirs) in enumerate(zip(one.names, other.names, strict=False)):
        if ours != theirs:
            return f"class {index} is {ours!r:.60} and {theirs!r:.60}"
    if len(one) != len(other):
        return f"they are {len(one)} and {len(other)}"
    if one.background != other.background:
        with_it = "the first" if one.background else "the second"
        return f"{with_it} alone has {one.names[0]!r:.60} as background"
    return ""


def scores_differ(one: Geometry, other: Geometry) -> str:
    """Say in what the scores of photos differ; empty where they look at the same pixels."""
    if (one.score, one.stretched) == (other.score, other.stretched):
        return ""
    return f"at {one.score_text} and at {other.score_text}"
