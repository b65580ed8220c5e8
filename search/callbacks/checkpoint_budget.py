"""Keeps a run's checkpoints within a budget of disk space."""

from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import BROKEN, ENDED, PAUSED


@dataclass
class KeepWithin(tune.Callback):
    """Drops checkpoints after every epoch and end of a trial, so that those of the whole run stay within a budget.

    First go the states that ended trials could have gone on from, then those of paused ones, which then cannot, then
    the weights and probabilities of trainings with further seeds, then of whole trials, those that no ensemble would
    use first: broken ones, then those trained on fewer folds, each the worst val_miou first. The best of the sound ones
    and running trials keep theirs.
    """

    run: RunFolder
    budget: int  # bytes
    console: Console
    told: bool = field(default=False)

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshot nothing: it is never read, and a console cannot be pickled."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch's state has been written."""
        self.drop()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's checkpoints may be dropped from now on."""
        self.drop()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's checkpoints may be dropped from now on."""
        self.drop()

    def drop(self) -> None:
        """Drop what is over the budget, with room for what the trials that have not ended may still write."""
        folders = [folder for trial in self.run.trials() for folder in (trial, *trial.further_folds())]
        sizes = {folder: checkpoint_bytes(folder) for folder in folders}
        states = {folder: folder.status().state for folder in folders}
        ended = [folder for folder in folders if states[folder] in (PAUSED, *ENDED)]
        most = max(sizes.values(), default=0)
        # One more than those that have not ended: the next trial begins before this is called again.
        to_come = most + sum(most - sizes[folder] for folder in folders if folder not in ended)
        over = sum(sizes.values()) + to_come - self.budget
        if over <= 0:
            return
        ranked = sorted(ended, key=lambda folder: use_of(self.run.trial(folder.number)))
        best = ranked[-1].number if ranked else None
        first = sorted(ranked, key=lambda folder: states[folder] == PAUSED)
        files = [file for folder in first for file in folder.states]
        unused = [folder for folder in ranked if folder.repeats]
        files += [
            file
            for folder in (*unused, *(trial for trial in ranked if trial.number != best))
            for file in (folder.out_of_fold, folder.best_weights)
        ]
        for file in files:
            if over > 0 and file.exists():
                over -= file.stat().st_size
                file.unlink()
                TrialFolder(file.parent).forget(file.name)
        if over > 0 and not self.told:
            self.told = True
            need = (self.budget + over) / 1e9
            self.console.print(
                f"note: --keep-gb {self.budget / 1e9:g} is less than the {need:.2f} GB of the best trial and of those "
                "that have not ended; they are kept all the same",
                style="yellow",
                highlight=False,
                soft_wrap=True,
            )


def keep_callbacks(run: RunFolder, keep_gb: float | None, console: Console) -> list[tune.Callback]:
    """Return the callback that keeps a budget in GB, where there is one."""
    return [] if keep_gb is None else [KeepWithin(run, int(keep_gb * 1e9), console)]


def checkpoint_bytes(folder: TrialFolder) -> int:
    """Return the size of a trial's weights, state and probabilities."""
    files = (folder.best_weights, folder.out_of_fold, *folder.states)
    return sum(file.stat().st_size for file in files if file.exists())


def use_of(trial: TrialFolder) -> tuple[bool, int, float]:
    """Return what a trial is worth to an ensemble: whether it is sound, its folds, its best val_miou."""
    sound = trial.status().state not in BROKEN
    folds = sum(not folder.repeats for folder in trial.further_folds())
    return sound, folds, max((row["val_miou"] for row in trial.curve()), default=-1.0)
