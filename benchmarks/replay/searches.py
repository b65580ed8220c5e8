"""The searches that are compared, each on a table with a seed."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.replay.simulate import Begun, Search, TuneSearch
from benchmarks.replay.tables import Primed, Table
from search.tuning.asha import ResumableASHA
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from search.tuning.priors import Priors
from search.tuning.study import StudySearch
from trainable.classes import METRIC
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder


class Sampled:
    """Optuna asked and told directly, with one of its own pruners or none."""

    def __init__(
        self, table: Table, seed: int, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
    ):
        self.table = table
        # Hyperband deals trials to its brackets by the study's name.
        self.study = optuna.create_study(study_name=str(seed), direction="maximize", sampler=sampler, pruner=pruner)
        self.live: dict[str, optuna.Trial] = {}

    def ask(self, name: str) -> Begun | None:
        """Sample the space."""
        if len(self.study.get_trials(deepcopy=False)) >= self.table.trials:
            return None
        trial = self.live[name] = self.study.ask()
        self.table.space.sample(trial)
        return self.table.begin(trial.params, trial.distributions)

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Let the pruner decide."""
        trial = self.live[name]
        trial.report(value, epoch)
        if epoch >= self.table.epochs:
            self.study.tell(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            return True
        return False


class Ours(TuneSearch):
    """What run.py runs: the same objects, with a run folder in memory."""

    def __init__(
        self,
        run: RunFolder,
        table: Table,
        seed: int,
        scheduler: Callable[[RunFolder, optuna.Study], Any],
        priors: Priors | None = None,
    ):
        self.run, self.study = run, optuna.create_study(direction="maximize")
        for params in priors.space(table.space).first_trials if priors else ():
            self.study.enqueue_trial(params)
        base = TrialConfig(epochs=table.epochs, seed=seed, image_size=96, encoder_weights="none", device="cpu")
        tune_scheduler = scheduler(run, self.study)
        thawing = tune_scheduler.thawing if isinstance(tune_scheduler, ThawingScheduler) else None
        searcher = StudySearch(run, self.study, table.space, base, table.trials, thawing, priors=priors)
        begun: dict[int, Begun] = {}

        def look_up(name: str, config: dict[str, Any]) -> Begun:
            number, trial = config["number"], searcher.live[name]
            if number not in begun:
                run.trial(number).last_state.touch()
                begun[number] = table.begin(trial.params, trial.distributions)
                return begun[number]
            assert thawing
            done = int(thawing.epochs[thawing.rows[number]])
            # Its worker reports the last epoch once more.
            assert self.report(name, done, float(begun[number].curve[done - 1]))
            return replace(begun[number], done=done)

        self.thawing = thawing
        super().__init__(searcher, tune_scheduler, look_up, table.epochs)

    def tell_left(self, seconds: float, workers: int) -> None:
        """Tell what a search goes by that has a budget: an epoch takes a second."""
        if self.thawing:
            self.thawing.epochs_left, self.thawing.workers = lambda: seconds, workers


def stock(table: Table, seed: int, scheduler: Any) -> TuneSearch:
    """Return Tune's own searcher with one of its schedulers, as its users put them together."""

    def space(trial: optuna.Trial) -> None:
        table.space.sample(trial)

    searcher = OptunaSearch(space, metric=METRIC, mode="max", seed=seed)

    def look_up(name: str, config: dict[str, Any]) -> Begun:
        trial = searcher._ot_trials[name]
        return table.begin(trial.params, trial.distributions)

    return Stock(searcher, scheduler, look_up, table.epochs, table.trials)


class Stock(TuneSearch):
    """Tune's own searcher, asked for so many trials."""

    def __init__(self, searcher: Any, scheduler: Any, look_up: Any, epochs: int, left: int):
        super().__init__(searcher, scheduler, look_up, epochs)
        self.left = left

    def ask(self, name: str) -> Begun | None:
        """Ask the searcher."""
        self.left -= 1
        return super().ask(name) if self.left >= 0 else None


def asha(table: Table, grace: int, reduction: int = 3) -> AsyncHyperBandScheduler:
    """Return Tune's ASHA."""
    return AsyncHyperBandScheduler(
        "epoch", METRIC, "max", max_t=table.epochs, grace_period=grace, reduction_factor=reduction
    )


def _plain(sampler: Callable[[int], optuna.samplers.BaseSampler], pruner: Any = None) -> Any:
    @contextlib.contextmanager
    def open_search(table: Table, seed: int) -> Iterator[Search]:
        yield Sampled(table, seed, sampler(seed), pruner(table) if pruner else optuna.pruners.NopPruner())

    return open_search


def _stock(scheduler: Callable[[Table], Any]) -> Any:
    @contextlib.contextmanager
    def open_search(table: Table, seed: int) -> Iterator[Search]:
        yield stock(table, seed, scheduler(table))

    return open_search


def _ours(scheduler: Callable[[Table, RunFolder, optuna.Study, Priors | None], Any], warm: bool = False) -> Any:
    @contextlib.contextmanager
    def open_search(table: Primed, seed: int) -> Iterator[Search]:
        folder, priors = Path(tempfile.mkdtemp(dir="/dev/shm")), table.priors() if warm else None
        try:
            yield Ours(RunFolder(folder), table, seed, lambda run, study: scheduler(table, run, study, priors), priors)
        finally:
            shutil.rmtree(folder)

    return open_search


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _thawing(table: Table, run: RunFolder, study: optuna.Study, priors: Priors | None) -> ThawingScheduler:
    return ThawingScheduler(Thawing(run, table.epochs, table.trials, priors))


SEARCHES: dict[str, Any] = {
    "random": _plain(lambda seed: optuna.samplers.RandomSampler(seed)),
    "TPE, no stopping": _plain(_tpe),
    "OptunaSearch + ASHA, grace 1": _stock(lambda table: asha(table, 1)),
    "OptunaSearch + ASHA, grace 3": _stock(lambda table: asha(table, 3)),
    "OptunaSearch, no stopping": _stock(lambda table: FIFOScheduler()),
    "Optuna TPE + Hyperband": _plain(_tpe, lambda table: optuna.pruners.HyperbandPruner(1, table.epochs, 3)),
    "Trashsweep": _ours(_thawing),
    "Trashsweep, --stopper asha": _ours(
        lambda table, run, study, _: ResumableASHA(run, study, table.epochs, min(max(table.epochs // 4, 1), 10), 3)
    ),
    "Trashsweep, warm start": _ours(_thawing, warm=True),
}
