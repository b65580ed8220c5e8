"""What makes the values of two searches comparable: the metric, whether more of it is better, and the classes."""

from collections.abc import Sequence
from typing import Any

from optuna.study import StudyDirection

from search.tuning.journal import directions
from trainable.classes import METRIC
from trainable.geometry import Geometry
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DAMAGE

MEASURED: dict[str, Any] = {"metric": METRIC, "direction": "maximize"}
"""What a search stores in its search.json of how its trials are compared, beside its classes."""

NAMES = {direction.value: direction.name.lower() for direction in StudyDirection}


def check_comparable(run: RunFolder, classes: Sequence[str] | None = None, geometry: Geometry | None = None) -> None:
    """Refuse a run whose values mean something else than those of a search that is to go on from them.

    Runs of before this was stored were searched by `METRIC`, with the classes of their folds.

    Args:
        run: whose values they are.
        classes: of the search; None where it is the run itself that goes on.
        geometry: of the search's photos, which says where `val_miou` looks.

    Raises:
        ValueError: it has another metric, the opposite direction, other classes, or is scored elsewhere.
        OSError: search.json cannot be read.
    """
    measured = {
        **MEASURED,
        **{name: value for name, value in run.search().items() if name in MEASURED},
    }
    if (stored := directions(run.study)) and stored != [StudyDirection.MAXIMIZE]:
        measured["direction"] = " and ".join(NAMES.get(direction, str(direction)) for direction in stored)
    name = run.path.name
    rest = "its values cannot be compared with those to come; name another run, or start a new search without it"
    if measured["metric"] != METRIC:
        raise ValueError(f"run {name} was searched by {measured['metric']}, this search goes by {METRIC}: {rest}")
    if measured["direction"] != MEASURED["direction"]:
        raise ValueError(f"run {name} is to {measured['direction']} {METRIC}, this search is to maximize it: {rest}")
    if classes is not None and (theirs := _classes(run, list(classes))) != list(classes):
        raise ValueError(f"run {name} has other classes ({_difference(theirs, classes)}): {rest}")
    if geometry is not None and (of_run := run.record().geometry).score != geometry.score:
        raise ValueError(
            f"run {name} is scored at {of_run.score_text}, this search at {geometry.score_text}: {rest}, or take its "
            "--score-size"
        )


def _classes(run: RunFolder, default: list[str]) -> Any:
    if (stored := run.search().get("classes")) is not None:
        return stored
    try:
        return run.folds_classes()
    except DAMAGE:
        return default


def _difference(theirs: Any, classes: Sequence[str]) -> str:
    if not isinstance(theirs, list):
        return f"found {theirs!r:.60}"
    for index, (own, other) in enumerate(zip(classes, theirs, strict=False)):
        if own != other:
            return f"class {index} is {other!r:.40} there and {own!r} here"
    return f"{len(theirs)} there, {len(classes)} here"
