"""What the sampler sees: trials that are paused or were stopped count as what they are forecast to come to.

Optuna's TPE ranks every stopped trial below every complete one, and takes a paused one for a running one, which is to
say a bad one; forecasts compare them all.
"""

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from trainable.seeding import stream_seed

SHARE_GOOD, MOST_GOOD = 0.2, 25
"""Of all trials, and how many at most, that TPE takes for good ones and samples around.

Twice Optuna's share: with 8 of 80 the sampler clings to the edge where the best ones no longer fit into memory.
"""

STARTUP_TRIALS = 10
"""Random trials before TPE begins, of short searches too: of 12 trials with 3 random ones the best is worth less."""


class _ForecastStudy:
    """A study in which trials have their forecast ends, and earlier searches' trials come before them."""

    def __init__(self, study: optuna.Study, ends: Mapping[int, float], earlier: Sequence[FrozenTrial]):
        self._study, self._ends, self._earlier = study, ends, earlier

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Sequence[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        own = self._study._get_trials(deepcopy=False, use_cache=use_cache)
        trials = [*self._earlier, *(self._with_end(trial) for trial in own)]
        return [trial for trial in trials if states is None or trial.state in states]

    def _with_end(self, trial: FrozenTrial) -> FrozenTrial:
        if trial.number not in self._ends or trial.state not in (TrialState.RUNNING, TrialState.PRUNED):
            return trial
        ended = copy.copy(trial)
        ended.state, ended.value = TrialState.COMPLETE, self._ends[trial.number]
        return ended


class ForecastSampler(BaseSampler):
    """Another sampler, for which trials that have not ended, or were stopped, have their forecast ends.

    It sees the trials of earlier searches as well.
    """

    def __init__(self, sampler: BaseSampler, ends: Mapping[int, float], earlier: Sequence[FrozenTrial] = ()):
        self.sampler, self.ends, self.earlier = sampler, ends, earlier

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See Optuna."""
        return self.sampler.infer_relative_search_space(self._forecast_study(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See Optuna."""
        return self.sampler.sample_relative(self._forecast_study(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See Optuna."""
        return self.sampler.sample_independent(self._forecast_study(study), trial, param_name, param_distribution)

    def _forecast_study(self, study: optuna.Study) -> Any:
        return _ForecastStudy(study, self.ends, self.earlier)


def make_sampler(
    seed: int, asked: int, ends: Mapping[int, float] | None = None, earlier: Sequence[FrozenTrial] = ()
) -> BaseSampler:
    """Return the sampler for the trial after `asked` others: its stream does not depend on interruptions.

    Args:
        seed: of the search.
        asked: how many trials there are.
        ends: forecast ends by trial, see `ForecastSampler`.
        earlier: trials of earlier searches, numbered below 0; so many fewer random ones come first.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # gamma goes in Optuna 6
        sampler = TPESampler(
            seed=stream_seed(seed, "study", asked),
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            group=True,
            constant_liar=True,
            gamma=lambda trials: min(math.ceil(SHARE_GOOD * trials), MOST_GOOD),
        )
    return ForecastSampler(sampler, ends or {}, earlier) if ends is not None or earlier else sampler
