"""What Tune asks for the next trial: Optuna, able to resume.

Tune's own OptunaSearch tells Optuna that every stopped trial was complete, enqueues the first trials again at each
start and leaves running ones behind for ever. So the search asks and tells Optuna's study directly, and both sides are
rebuilt from the run folder: it is the only state.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from search.cluster.gpu_packing import DoesNotFitError, Packing
from search.tuning.freeze_thaw import Thawing
from search.tuning.journal import Journal, cut_at_damage
from search.tuning.optuna_adapter import live_trial
from search.tuning.priors import Priors
from search.tuning.pruned_values import make_sampler
from search.tuning.recovery import is_cut, mend, recover
from search.tuning.trial_ends import tell_end
from search.worker.messages import Assignment, Broken, Epoch, read_report
from spaces.own import OwnSpaceError
from spaces.table import Space
from trainable.classes import METRIC
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import BROKEN, FAILED, FINISHED, OOM, STOPPED, TrialRecord

AUTO = ("device", "precision", "memory_format", "encoder_weights")
"""What a config.json has as it was on the machine, or in the place, that the trial began in."""


def open_study(run: RunFolder, space: Space | None = None, start: int = 0) -> optuna.Study:
    """Open the run's study; with a space, as a search does that goes on with it or begins it.

    Then the study agrees with the run folder: trials that a cut-off journal has lost come back from their folders, and
    the space's first trials are enqueued where they have not been yet. optuna-dashboard opens the same file.

    Args:
        run: whose study.
        space: that its trials are drawn from.
        start: the first of them, where the run was extended: what was tried before is not enqueued.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(Journal(run.study))
    except Exception:  # whatever Optuna makes of lines that are json, but not its own
        cut_at_damage(run.study)
        storage = JournalStorage(Journal(run.study))
    study = optuna.create_study(storage=storage, study_name=run.study_name(), direction="maximize", load_if_exists=True)
    if space:
        recover(run, study, space, start)
        trials = study.get_trials(deepcopy=False)
        tried = [trial.params for trial in trials[:start]]
        first = [
            params for params in space.first_trials if not any(params.items() <= earlier.items() for earlier in tried)
        ]
        for params in first[len(trials[start:]) :]:
            study.enqueue_trial(params)
    return study


def mend_records(run: RunFolder) -> None:
    """Mend what is cut off of all trainings of a run that goes on, before anything reads them."""
    sampled: dict[int, dict[str, Any]] | None = None
    for folder in run.begun():
        with contextlib.suppress(FileNotFoundError):
            if is_cut(folder) and sampled is None:  # reading a long study takes seconds
                sampled = {trial.number: trial.params for trial in open_study(run).get_trials(deepcopy=False)}
        mend(folder, (sampled or {}).get(folder.number, {}))
        for further in folder.further_folds():
            mend(further, {})


class StudySearch(Searcher):
    """Hands out the run's unfinished trials first, then new ones from the space or paused ones that are worth more."""

    def __init__(
        self,
        run: RunFolder,
        study: optuna.Study,
        space: Space,
        base: TrialConfig,
        trials: int,
        thawing: Thawing | None = None,
        packing: Packing | None = None,
        *,
        start: int = 0,
        priors: Priors | None = None,
    ):
        super().__init__(metric=METRIC, mode="max")
        self.run, self.study, self.space, self.base, self.trials = run, study, space, base, trials
        self.thawing, self.packing, self.start, self.priors = thawing, packing, start, priors
        self.over = False
        # Enqueued trials are waiting, not running: Optuna hands those out itself.
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        paused = thawing.paused if thawing else ()
        self.unfinished = [frozen.number for frozen in running if frozen.number not in paused]
        self.live: dict[str, optuna.Trial] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the number and config of the next trial and whether it goes on from its last epoch.

        None: there is none now, but there may be when a running one has ended; `FINISHED`: there will be none.
        """
        if self.packing and self.packing.holds(len(self.live)):
            return None
        number = self.unfinished.pop(0) if self.unfinished else self.thawing.next() if self.thawing else None
        has_more = self._count_asked() < self.trials and (self.thawing is None or self.thawing.more())
        if number is not None:
            frozen = self.study.get_trials(deepcopy=False)[number]
            self.live[trial_id] = live_trial(self.study, frozen)
        elif has_more:
            ends, earlier = self.thawing.ends() if self.thawing else None, self._earlier_searches()
            self.study.sampler = make_sampler(self.base.seed, self._count_asked(), ends, earlier)
            self.live[trial_id] = self.study.ask()
        else:
            self.over = not self.live
            return Searcher.FINISHED if self.over else None
        trial = self.live[trial_id]
        if self.thawing:
            self.thawing.begin(trial.number)
        folder = self.run.trial(trial.number)
        config = self._before(folder)
        if config is None:
            # Asked again, a trial gives the values it gave before: so a resumed one has its own config.
            config = self._sampled(trial)
            folder.write_params(trial.params)
        try:
            gpus = self.packing.share(config) if self.packing else None
        except DoesNotFitError as error:
            self._refuse(self.live.pop(trial_id), str(error))
            return self.suggest(trial_id)
        return Assignment(trial.number, config.to_dict(), bool(folder.curve()), gpus).sent()

    def _sampled(self, trial: optuna.Trial) -> TrialConfig:
        """Return the config that the space gives a trial.

        Raises:
            OwnSpaceError: a function of the user's own failed, or gives what cannot train.
        """
        parts = self.space.sample(trial)
        try:
            return TrialConfig.from_dict({**self.base.to_dict(), **parts})
        except (ValueError, TypeError) as error:
            if not self.space.own:
                raise
            functions = " or ".join(self.space.own)
            raise OwnSpaceError(f"--space {functions} gives a config that cannot train: {error}") from error

    def _earlier_searches(self) -> list[FrozenTrial]:
        """Return what the sampler sees of earlier searches."""
        if not self.priors:
            return []
        first = self.study.get_trials(deepcopy=False)[: len(self.priors.first)]
        ended = {trial.number: list(trial.intermediate_values.values()) for trial in first if trial.state.is_finished()}
        return self.priors.trials(self.space, self._count_asked(), self.thawing.first() if self.thawing else ended)

    def _before(self, folder: TrialFolder) -> TrialConfig | None:
        """Return the config of a trial of before the run was extended, which another space may have sampled."""
        if folder.number >= self.start:
            return None
        with contextlib.suppress(FileNotFoundError):  # it never began to train: any config is as good
            return replace(TrialConfig.from_dict(folder.config()), **{name: getattr(self.base, name) for name in AUTO})
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna the epoch's value; a resumed trial's last epoch comes a second time."""
        trial = self.live[trial_id]
        report = read_report(result)
        if isinstance(report, Epoch) and report.number not in self._reported(trial):
            trial.report(report.value, report.number)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna the end: complete after the full budget, pruned if stopped before it, else failed.

        Of one that is paused it is told when the search ends, see `close`.
        """
        if result:
            self.on_trial_result(trial_id, result)  # Tune keeps the result at which it stops a trial for this call
        trial = self.live.pop(trial_id)
        record = self.run.trial(trial.number).status()
        if self.run.trial(trial.number).waits:
            return  # put aside: to Optuna it is running until a resume has trained it
        report = read_report(result)
        if isinstance(report, Broken):  # what the folder will say
            record = TrialRecord(report.state, report.reason)
        if error or record.state in BROKEN or not isinstance(report, Epoch):
            if self.thawing:
                self.thawing.drop(trial.number)
            state = record.state if record.state in BROKEN else FAILED
            tell_end(self.study, trial, state, record.reason)
        elif report.number >= self.base.epochs:
            tell_end(self.study, trial, FINISHED)
        elif not self.thawing:
            tell_end(self.study, trial, STOPPED)

    def close(self) -> None:
        """Stop what is still paused, where the search has come to its end."""
        if not self.over or not self.thawing or self.thawing.limited():
            return
        if any(folder.waits for folder in self.run.trials()):
            return  # put aside: what is paused may still be worth more than these
        for number in sorted(self.thawing.paused):
            folder, frozen = self.run.trial(number), self.study.get_trials(deepcopy=False)[number]
            tell_end(self.study, live_trial(self.study, frozen), STOPPED)
            folder.write(replace(folder.status(), state=STOPPED, reason=self.thawing.why(number)))

    def _refuse(self, trial: optuna.Trial, reason: str) -> None:
        """End a trial that is not worth a try."""
        if self.thawing:
            self.thawing.drop(trial.number)
        tell_end(self.study, trial, OOM, reason)
        self.run.trial(trial.number).write_status(OOM, reason)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study's journal is the state."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study's journal is the state."""

    def _reported(self, trial: optuna.Trial) -> dict[int, float]:
        return self.study.get_trials(deepcopy=False)[trial.number].intermediate_values

    def _count_asked(self) -> int:
        return sum(trial.state != TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))
