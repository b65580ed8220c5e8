"""The scheduler of Tune that goes by `search/tuning/freeze_thaw.py`, apart from it: to import Ray takes seconds."""

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.tuning.freeze_thaw import Thawing
from search.worker.trial_callback import assigned
from trainable.classes import METRIC


class ThawingScheduler(FIFOScheduler):
    """Tells Tune to stop what is paused; `StudySearch` hands it out again."""

    def __init__(self, thawing: Thawing):
        super().__init__()
        self.thawing = thawing

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]) -> str:
        """Decide after an epoch."""
        if METRIC not in result:
            return TrialScheduler.CONTINUE
        number = assigned(trial).number
        self.thawing.observe(number, result["epoch"], result[METRIC])
        if result["epoch"] >= self.thawing.budget:
            self.thawing.finish()
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE if self.thawing.goes_on(number, result["epoch"]) else TrialScheduler.STOP
