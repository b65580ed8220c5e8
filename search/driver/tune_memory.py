"""Keeps the driver small: the run folder has all that Tune keeps of every trial until the end."""

from typing import Any

from ray.tune.experiment import Trial

from search.worker.trial_callback import TrialCallback
from trainable.classes import METRIC


class Forgetting(TrialCallback):
    """Takes from Tune, once a trial has ended, what it would keep of it: statistics of each metric, its last result.

    With some 30 metrics that is 0.2 MB a trial. To be told last: other callbacks look at the last result.
    """

    def __init__(self) -> None:
        self.ended: list[Trial] = []

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """Note the trial; Tune itself still reads its result in this step."""
        self.ended.append(trial)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Forget those that ended in the last step."""
        for trial in self.ended:
            metadata = trial.run_metadata
            metadata.metric_analysis, metadata.metric_n_steps = {}, {}
            metadata.last_result = {
                name: metadata.last_result[name] for name in (METRIC, "epoch") if name in metadata.last_result
            }
        self.ended.clear()
