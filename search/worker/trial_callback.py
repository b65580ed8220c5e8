"""What our callbacks have in common: they are told of trials, and Tune's snapshot holds nothing of them."""

from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from search.worker.messages import Assignment, Report, read_report


def assigned(trial: Trial) -> Assignment:
    """Return what a trial of Tune's was handed out to train."""
    return Assignment.read(trial.config)


class TrialCallback(tune.Callback):
    """Told by Tune, in the driver, of what happens to trials; in the order in which callbacks are listed."""

    def trial_started(self, trial: Trial) -> None:
        """Handle that a trial has a worker."""

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Handle what a trial's worker tells."""

    def trial_recovers(self, trial: Trial) -> None:
        """Handle that a trial's process is gone; it is tried again."""

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """Handle that Tune is done with a trial, which may go on later.

        Args:
            trial: that had its budget, was paused or stopped, or ended by an error that would come again.
            failed: it could not even be started.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshot nothing: it is never read, and consoles and files cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on, as Tune says it."""
        self.trial_started(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass it on, as Tune says it."""
        if report := read_report(result):
            self.trial_reported(trial, report)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on, as Tune says it."""
        self.trial_recovers(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on, as Tune says it."""
        self.trial_ended(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on, as Tune says it."""
        self.trial_ended(trial, failed=True)
