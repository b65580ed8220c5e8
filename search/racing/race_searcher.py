"""Hands the race's next training to Tune, by what lies in the run folder."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from rich.console import Console

from search.callbacks.remote_sync import bring_scores
from search.cluster.gpu_packing import DoesNotFitError, Packing
from search.racing.race import Race, Task
from search.worker.messages import Assignment
from trainable.classes import METRIC
from trainable.config import TrialConfig
from trainable.metric.noise import Cell
from trainable.run_folder.fold_models import broken, tallies_of, trainings
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.record_checks import DAMAGE


class Racer(Searcher):
    """Asks the race what is next, each time after looking what has ended."""

    def __init__(self, run: RunFolder, race: Race, console: Console, packing: Packing | None = None):
        super().__init__(metric=METRIC, mode="max")
        self.run, self.race, self.console, self.packing = run, race, console, packing
        self.live: dict[str, Task] = {}
        self.aside: list[Task] = []  # that cannot be trained now, by no fault of theirs
        self.load()

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshot nothing: it is never read, and a console cannot be pickled."""
        return {}

    def load(self) -> None:
        """Tell the race of trainings that have ended since it was last told."""
        for number, results in list(self.race.results.items()):
            trial = self.run.trial(number)
            ended = trainings(trial)
            new = [cell for cell in self.race.rungs if cell in ended and cell not in results]
            bring_scores(self.run, [ended[cell] for cell in new], self.console)
            for cell in new:
                self.race.observe(number, cell, tallies_of(ended[cell]))
            if broken(trial):
                self.race.withdraw(number)

    def suggest(self, trial_id: str) -> Any:
        """Return the next training; None: there is none now, but there may be when another has ended."""
        if self.packing and self.packing.holds(len(self.live)):
            return None
        self.load()
        task = self.race.next([*self.live.values(), *self.aside])
        if task is None:
            return None if self.live else Searcher.FINISHED
        self.live[trial_id] = task
        return assignment(self.run, task, self._share).sent()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Need no result: it is read from the folder."""
        task = self.live.pop(trial_id, None)
        if task and folder_of_cell(self.run.trial(task[0]), task[1]).waits:
            self.aside.append(task)

    def _share(self, config: dict[str, Any]) -> float | None:
        """Return the share of a GPU that a training gets, where they are packed."""
        try:
            return self.packing.share(TrialConfig.from_dict(config)) if self.packing else None
        except DoesNotFitError:
            return 1.0  # the trial did fit

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the run folder is the state."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the run folder is the state."""


def assignment(
    run: RunFolder, task: Task, share: Callable[[dict[str, Any]], float | None] = lambda config: None
) -> Assignment:
    """Return a training as a worker takes it.

    Args:
        run: whose trial's config it has.
        task: the trial, the fold and how often the seed is another one.
        share: gives the share of a GPU by the config; None where trainings are not packed.
    """
    number, (fold, repeat) = task
    config = {**run.trial(number).config(), "fold": fold}
    with suppress(*DAMAGE):  # where the weights are now
        config["encoder_weights"] = run.record().base["encoder_weights"]
    if repeat:
        config["seed"] += repeat
    return Assignment(
        number,
        config,
        resume=bool(folder_of_cell(run.trial(number), (fold, repeat)).curve()),
        gpus=share(config),
        further=fold,
        seed=config["seed"] if repeat else None,
    )


def folder_of_cell(trial: TrialFolder, cell: Cell) -> TrialFolder:
    """Return where a further training of a trial's config is, or will be."""
    fold, repeat = cell
    return trial.further(fold, trial.config()["seed"] + repeat if repeat else None)
