"""What the search needs of Optuna that its interface does not offer; the only place that touches its private parts.

Written for Optuna 5.0. `tests/search/tuning/test_optuna_adapter.py` fails where another version differs.
"""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState


def live_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Return a trial of a study that can be told of epochs and asked for values; asked again, it gives the same."""
    return optuna.Trial(study, frozen._trial_id)


def set_running(study: optuna.Study, frozen: FrozenTrial) -> None:
    """Have a waiting trial run, without what `Study.ask` does beside."""
    study._storage.set_trial_state_values(frozen._trial_id, TrialState.RUNNING)


def set_param(study: optuna.Study, frozen: FrozenTrial, name: str, value: Any, distribution: BaseDistribution) -> None:
    """Give a running trial a value that it was not asked for."""
    study._storage.set_trial_param(frozen._trial_id, name, distribution.to_internal_repr(value), distribution)


def allows(distribution: BaseDistribution, value: Any) -> bool:
    """Tell whether a value can come from a distribution."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False
