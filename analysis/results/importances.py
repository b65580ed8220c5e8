"""The Optuna study of a run, opened to be read: which sampled values mattered."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from analysis.results.params import varying
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DAMAGE

MOST = 6
"""Parameters drawn."""


def open_study(run: RunFolder) -> optuna.Study:
    """Open a run's study; nothing is written to it, so a search may be going on.

    Raises:
        ValueError: the run has no study, or it cannot be read.
    """
    if not run.study.exists():  # the journal would be made
        raise ValueError(f"{run.study} is missing")
    try:
        storage = JournalStorage(JournalFileBackend(str(run.study)))
        return optuna.load_study(study_name=run.study_name(), storage=storage)
    except (*DAMAGE, optuna.exceptions.OptunaError) as error:  # its own lines are all that it expects
        raise ValueError(f"{run.study} cannot be read as one study ({type(error).__name__}: {error})") from error


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that had their full budget: Optuna's figures go by these alone.

    Raises:
        ValueError: fewer than two, of which nothing can be told.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 2:
        message = "it takes two trials that had their full budget to tell which parameters matter"
        raise ValueError(f"{message}, so far there are {len(complete)}")
    return complete


def important(study: optuna.Study) -> dict[str, float]:
    """Return the share of each parameter in the differences of val_miou by Optuna, largest first.

    Of the parameters that every complete trial sampled and that vary: one that few trials have would get a share from
    what else these trials have in common.

    Raises:
        ValueError: fewer than two complete trials, or none of their parameters differ.
    """
    complete = complete_trials(study)
    names = [
        name
        for name in varying([trial.params for trial in complete])
        if all(name in trial.params for trial in complete)
    ]
    if not names:
        raise ValueError(f"no parameter that all {len(complete)} trials of the full budget sampled differs among them")
    with quiet():
        return optuna.importance.get_param_importances(study, params=names)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's warnings on experimental functions and on few trials out of reports, which say it themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
