"""Makes run folder and study agree after a crash: what either has lost comes back from the other.

A trial's folder is written before Tune hears of it, and Tune before Optuna: so where both tell, the folder knows more,
but for how a trial ended, which Optuna is told first.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import optuna
import safetensors
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.tuning.config_to_params import express, known
from search.tuning.optuna_adapter import live_trial, set_param, set_running
from search.tuning.trial_ends import CONSTRAINTS, tell_end
from spaces.table import Space
from trainable.classes import METRIC
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import BROKEN, ENDED, FAILED, FINISHED, PAUSED, RUNNING, STOPPED, TrialRecord
from trainable.storage.atomic_write import read_json
from trainable.storage.record_checks import NewerFormatError

MISSING = "its folder is missing: it was removed, or lost in a copy"
"""Why a trial that the study knows to have ended is of no more use."""

ENDS = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: STOPPED, TrialState.FAIL: FAILED}


def recover(run: RunFolder, study: optuna.Study, space: Space, start: int = 0) -> None:
    """Mend records that are cut off, then give folders and study what each lacks of the other.

    Args:
        run: whose folders there are.
        study: to agree with them.
        space: that the trials are drawn from.
        start: the first trial that was: the study has those before it in the space's terms.
    """
    folders = {folder.number: folder for folder in run.begun()}
    for number in range(len(study.get_trials(deepcopy=False)), max(folders, default=-1) + 1):
        _add(study, space, folders.get(number), number < start)
    for number, frozen in enumerate(study.get_trials()):
        if folder := folders.get(number):
            mend(folder, frozen.params)
            _agree(study, space, frozen, folder)
        elif frozen.state in ENDS:
            run.trial(number).write_params(frozen.params)
            run.trial(number).write_status(FAILED, MISSING)


def _add(study: optuna.Study, space: Space, folder: TrialFolder | None, earlier: bool) -> None:
    """Put back a trial that the journal has lost; of one without a record only the number is kept."""
    params = _params(folder)
    distributions = known(space, params)
    if folder and earlier:
        with contextlib.suppress(FileNotFoundError, ValueError):  # of one that never began to train
            expressed = express(space, folder.config(), params)
            params, distributions = expressed.params, expressed.distributions
    params = {name: params[name] for name in distributions}
    study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions))


def mend(folder: TrialFolder, params: dict[str, Any]) -> None:
    """Write trial.json and curve.csv of a training anew where they are cut off.

    Args:
        folder: of a training that has begun; any other stays as it is.
        params: what was sampled for it, as far as is known.
    """
    try:
        cut = is_cut(folder)
    except FileNotFoundError:
        return
    if cut:
        (folder.path / "trial.json").unlink()
        folder.write_params(params)
    try:
        epochs = len(folder.curve())
    except (ValueError, KeyError, TypeError):
        epochs = -1
    if epochs < 0 or folder.status().state not in ENDED:
        _mend_curve(folder, epochs)


def is_cut(folder: TrialFolder) -> bool:
    """Tell whether a training's trial.json is cut off.

    Raises:
        FileNotFoundError: it has none: it has not begun.
        NewerFormatError: it is whole, of a later version.
    """
    try:
        folder.status()
    except NewerFormatError:
        raise
    except (ValueError, KeyError, TypeError):
        return True
    return False


def _mend_curve(folder: TrialFolder, epochs: int) -> None:
    """Take the curve from the state that training would go on from, if that knows of more epochs."""
    for path in (folder.last_state, folder.previous_state):
        with contextlib.suppress(safetensors.SafetensorError, OSError, ValueError, KeyError):
            rows = _rows(path)
            if len(rows) > epochs:
                folder.write_curve(rows)
            return
    if epochs < 0:
        (folder.path / "curve.csv").unlink()


def _rows(path: Path) -> list[dict[str, float]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads((file.metadata() or {}).get("header", "{}")).get("rows", [])


def _agree(study: optuna.Study, space: Space, frozen: FrozenTrial, folder: TrialFolder) -> None:
    """Bring one trial's two records to the same state."""
    record = folder.status() if (folder.path / "trial.json").exists() else TrialRecord(RUNNING)
    state, curve = record.state, folder.curve()
    if frozen.state in ENDS:
        if state not in ENDED:
            epochs = len(curve)
            reason = f"ended after epoch {epochs}, just before the search did"
            broken = (state for state, rule in CONSTRAINTS.items() if rule in frozen.constraints)
            folder.write_status(next(broken, ENDS[frozen.state]), reason, epochs=epochs)
        return
    if frozen.state == TrialState.WAITING:
        if not (folder.path / "trial.json").exists():
            return
        # The journal has lost that it was handed out.
        set_running(study, frozen)
    _complete_params(study, space, frozen, _params(folder))
    trial = live_trial(study, frozen)
    # Of one that goes on at once, its worker reports, and ASHA judges, the last epoch once more.
    for row in curve if state in (PAUSED, *ENDED) else curve[:-1]:
        if row["epoch"] not in frozen.intermediate_values:
            trial.report(row[METRIC], int(row["epoch"]))
    if state in ENDED:
        tell_end(study, trial, state if curve or state in BROKEN else FAILED, record.reason)


def _complete_params(study: optuna.Study, space: Space, frozen: FrozenTrial, params: dict[str, Any]) -> None:
    """Give a running trial the values that its folder has: asked again, it would draw what is missing anew."""
    for name, distribution in known(space, params).items():
        if name not in frozen.params:
            set_param(study, frozen, name, params[name], distribution)


def _params(folder: TrialFolder | None) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError, AttributeError):
        return read_json(folder.path / "trial.json").get("params", {}) if folder else {}
    return {}
