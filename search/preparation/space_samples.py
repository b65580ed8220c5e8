"""Configs sampled from a plan's space before its search, and whether the training photos have what they ask for."""

from collections.abc import Iterable

import numpy as np
import optuna
from numpy.typing import NDArray

from search.settings.plan import Plan
from spaces.own import OwnSpaceError
from spaces.table import find_space
from trainable.config import Choice, TrialConfig
from trainable.dataset.cache import Cache
from trainable.pipeline.oversampling import build_draws


def sample_configs(plan: Plan, samples: int = 200) -> list[TrialConfig]:
    """Sample configs as the search will, its first trials included.

    Raises:
        ValueError: the space has an impossible range, or gives a config that is out of range.
        OwnSpaceError: a function of the user's own raised an error.
    """
    space = find_space(plan.space, plan.scope)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.config.seed))
    for params in space.first_trials:
        study.enqueue_trial(params)
    try:
        return [TrialConfig.from_dict({**plan.base, **space.sample(study.ask())}) for _ in range(samples)]
    except OwnSpaceError:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(f"space {plan.space} gives a config that cannot train: {error}") from error


def check_draws(plan: Plan, caches: Iterable[Cache], train: NDArray[np.int64]) -> None:
    """Find what the space asks for that the training photos do not have, at any of the run's image sizes.

    Raises:
        ValueError: patches to paste, or backgrounds to paste them on, that are not there.
    """
    hardest: dict[str, Choice] = {}
    for config in sample_configs(plan):
        choice = config.oversampling
        if choice["name"] != "paste":
            hardest.setdefault(str(choice), choice)
            continue
        # Of all that paste the same classes on the same backgrounds, the narrowest range of areas that could come.
        key = f"{choice.get('rare')} {choice.get('backgrounds')}"
        before = hardest.setdefault(key, choice)
        narrow = {"min_area": max, "max_area": min}
        hardest[key] = {
            **choice,
            **{
                name: pick(before[name], choice[name])
                for name, pick in narrow.items()
                if name in before and name in choice
            },
        }
    for cache in caches:
        for choice in hardest.values():
            try:
                build_draws(choice, cache, train)
            except ValueError as error:
                raise ValueError(f"space {plan.space} gives a config that cannot train: {error}") from error
