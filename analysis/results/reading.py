"""Reads the trials of runs. A file that cannot be read is named and left out; the trial stays as the others tell it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from analysis.pool.same_scores import check_same_scores
from analysis.results.trials import Part, Trial, Trials
from trainable.counts import counted
from trainable.metric.bootstrap import mean_ious
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import ENDED, FAILED, TrialRecord
from trainable.storage.atomic_write import read_json
from trainable.storage.record_checks import DamagedError

FIGURES = ("val_miou", "val_miou_full", "train_s", "val_s", "peak_memory_mb")
"""What is read of every epoch, beside the IoU of each class."""

BUFFERS = ("mean", "std", "running_mean", "running_var", "num_batches_tracked")
"""Tensors of a model that no optimizer changes."""


def read_runs(paths: Sequence[Path]) -> Trials:
    """Read the trials of runs that share data, classes, folds and the fold that validates.

    Raises:
        ValueError: no run folder, or runs that cannot be compared.
    """
    runs = [RunFolder.open(path) for path in dict.fromkeys(path.absolute() for path in paths)]
    results = Trials(runs, [_search(run) for run in runs])
    _check_comparable(results)
    for run, search in zip(runs, results.searches, strict=True):
        for folder in run.trials():
            label = f"{run.path.name}/{folder.number}" if len(runs) > 1 else str(folder.number)
            results.trials.append(_trial(results, folder, label, search))
    _leave_out_other_photos(results)
    return results


def _search(run: RunFolder) -> SearchRecord:
    try:
        return run.record()
    except DamagedError as error:
        raise DamagedError(f"{error}; without it the run cannot be read") from error


def _check_comparable(results: Trials) -> None:
    rules = (
        ("annotations", "data hash", lambda search: search.data_hash),
        ("folds", "folds hash", lambda search: search.folds_hash),
        ("validation photos", "fold", lambda search: search.fold),
    )
    for what, name, value_of in rules:
        values = [value_of(search) for search in results.searches]
        other = next((position for position, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise ValueError(
                f"runs are compared on the same {what}: {results.runs[0].path.name} has the {name} {values[0]}, "
                f"{results.runs[other].path.name} has {values[other]}; give only runs that share it"
            )
    names = [run.path.name for run in results.runs]
    check_same_scores(list(zip(names, results.searches, strict=True)))


def _trial(results: Trials, folder: TrialFolder, label: str, search: SearchRecord) -> Trial:
    def part(read: Callable[[], Part], file: str) -> Part | None:
        return results.part(read, f"trial {label}, {file}")

    status = part(folder.status, "trial.json") or TrialRecord(FAILED, "its trial.json cannot be read")
    curve = part(lambda: _curve(folder, search.classes.names), "curve.csv") or []
    if any(not math.isfinite(row["val_miou"]) for row in curve):
        curve = [row for row in curve if math.isfinite(row["val_miou"])]
        results.problems.append(f"trial {label}, curve.csv: epochs without a finite val_miou are left out")
    config = part(folder.config, "config.json") if (folder.path / "config.json").exists() else {}
    trial = Trial(
        folder,
        label,
        status.state,
        status.reason,
        search.epochs,
        curve,
        dict(status.params),
        config or {},
        part(lambda: _confusion(folder), "confusion.npz") if curve else None,
        _parameters(folder, part) if curve else None,
        part(folder.notes, "notes.json") or [],
    )
    return _checked(results, trial)


def _curve(folder: TrialFolder, classes: Sequence[str]) -> list[dict[str, float]]:
    rows = folder.curve()
    figures = (*FIGURES, *(f"iou_{name}" for name in classes))
    if missing := [name for name in figures if rows and name not in rows[0]]:
        raise ValueError(f"it has no column {', '.join(missing)}")
    return rows


def _confusion(folder: TrialFolder) -> dict[str, NDArray[Any]]:
    arrays = folder.confusion()
    order = np.argsort(arrays["file_names"])
    return {name: arrays[name][order] for name in ("file_names", "scored", "full")}


def _parameters(folder: TrialFolder, part: Callable[[Callable[[], int], str], int | None]) -> int | None:
    """Return the numbers a model trains, by its weights, or by what it applied where those are gone."""
    if folder.best_weights.exists():
        counted = part(lambda: count_parameters(folder.best_weights), "best.safetensors")
        if counted is not None:
            return counted
    if folder.applied.exists():
        return part(lambda: int(read_json(folder.applied)["found"]["trained parameters"]), "applied.json")
    return None


def count_parameters(weights: Path) -> int:
    """Return the numbers an optimizer trains of a model's saved tensors; only the file's header is read."""
    with safetensors.safe_open(weights, framework="numpy") as file:
        names = [name for name in file.keys() if name.split(".")[-1] not in BUFFERS]  # noqa: SIM118 (not a dict)
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def _checked(results: Trials, trial: Trial) -> Trial:
    """Leave out confusion matrices that are not of the curve's best epoch."""
    if trial.confusion is None or trial.best is None or trial.state not in ENDED:
        return trial  # a running trial writes the two one after the other
    value = float(mean_ious(trial.confusion["scored"])[0])
    if math.isclose(value, trial.best["val_miou"], abs_tol=1e-6):
        return trial
    problem = f"its val_miou is {value:.4f}, the curve's best {trial.best['val_miou']:.4f}"
    results.problems.append(f"trial {trial.label}, confusion.npz: {problem}")
    return replace(trial, confusion=None)


def _leave_out_other_photos(results: Trials) -> None:
    """Leave out confusion matrices of other photos than the first trial's: they cannot be paired."""
    first, of = None, ""
    for position, trial in enumerate(results.trials):
        names = trial.confusion["file_names"] if trial.confusion else None
        if first is None and names is not None:
            first, of = names, trial.label
        if first is not None and names is not None and not np.array_equal(names, first):
            problem = f"it has {counted(len(names), 'photo')}, not the {len(first)} of trial {of}"
            results.problems.append(f"trial {trial.label}, confusion.npz: {problem}")
            results.trials[position] = replace(trial, confusion=None)


RUNS = Path(__file__).parents[2] / "runs"
"""Where searches leave their runs if not told otherwise."""


def newest_run(folder: Path = RUNS) -> Path:
    """Return the run that was begun last.

    Raises:
        ValueError: there is none.
    """
    records = list(folder.glob("*/search.json"))
    if not records:
        raise ValueError(f"there is no run in {folder}; search first, or name one by TRASHSWEEP_RUN")
    return max(records, key=lambda path: path.stat().st_mtime).parent
