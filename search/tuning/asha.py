"""ASHA as Ray has it, with rungs that are filled from the run folder: its own forgets them on a restart.

It touches private parts of Ray's scheduler (2.60); `tests/search/tuning/test_study.py` fails where they differ.
"""

from typing import Any

import optuna
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler

from search.worker.trial_callback import assigned
from trainable.classes import METRIC
from trainable.run_folder.folders import RunFolder


class ResumableASHA(AsyncHyperBandScheduler):
    """ASHA whose rungs are filled from the run folder's curves."""

    def __init__(self, run: RunFolder, study: optuna.Study, epochs: int, grace: int, reduction: float):
        super().__init__(
            time_attr="epoch", metric=METRIC, mode="max", max_t=epochs, grace_period=grace, reduction_factor=reduction
        )
        self.run = run
        # Tune tells the study of an epoch once ASHA has let the trial go on; what it was not told of is judged again.
        self.passed = {trial.number: set(trial.intermediate_values) for trial in study.get_trials(deepcopy=False)}
        for folder in run.trials():
            self._record(folder.curve(), f"earlier {folder.number}")

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Put a resumed trial's epochs under its new name; the last one is reported once more."""
        super().on_trial_add(tune_controller, trial)
        if assigned(trial).resume:
            number = assigned(trial).number
            for _, recorded in self._brackets[0]._rungs:
                recorded.pop(f"earlier {number}", None)
            curve = self.run.trial(number).curve()
            judged = curve and int(curve[-1]["epoch"]) in self.passed.get(number, ())
            self._record(curve if judged else curve[:-1], trial.trial_id)

    def _record(self, curve: list[dict[str, float]], name: str) -> None:
        values = {row["epoch"]: row[METRIC] for row in curve}
        for milestone, recorded in self._brackets[0]._rungs:
            if milestone in values and milestone < self._max_t:  # at the full budget nothing is compared
                recorded[name] = values[milestone]
