"""What makes the values of two searches comparable: the metric, whether more of it is better, and the classes."""

from typing import Any

from optuna.study import StudyDirection

from search.tuning.journal import directions
from trainable.classes import CLASSES, METRIC
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DAMAGE

MEASURED: dict[str, Any] = {"metric": METRIC, "direction": "maximize", "classes": list(CLASSES)}
"""What a search stores in its search.json of how its trials are compared."""

NAMES = {direction.value: direction.name.lower() for direction in StudyDirection}


def check_comparable(run: RunFolder) -> None:
    """Refuse a run whose values mean something else than those of a search that is to go on from them.

    Runs of before this was stored were searched by `METRIC`, with the classes of their folds.

    Raises:
        ValueError: it has another metric, the opposite direction or other classes.
        OSError: search.json cannot be read.
    """
    measured = {
        **MEASURED,
        "classes": _classes(run),
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
    if measured["classes"] != MEASURED["classes"]:
        raise ValueError(f"run {name} has other classes ({_difference(measured['classes'])}): {rest}")


def _classes(run: RunFolder) -> Any:
    try:
        return run.folds_classes()
    except DAMAGE:
        return MEASURED["classes"]


def _difference(classes: Any) -> str:
    if not isinstance(classes, list):
        return f"found {classes!r:.60}"
    for index, (own, other) in enumerate(zip(CLASSES, classes, strict=False)):
        if own != other:
            return f"class {index} is {other!r:.40} there and {own!r} here"
    return f"{len(classes)} there, {len(CLASSES)} here"
