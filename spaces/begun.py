"""A space as a run began with it: what a later version adds to its choices is not for a run that goes on.

Optuna takes the choices of a parameter to be the same in all trials of a study. A new loss, say, makes them others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import optuna

from spaces.table import Space


def as_begun(space: Space, begun: Mapping[str, Sequence[Any]]) -> Space:
    """Return a space that chooses from what the run's trials have chosen from so far.

    Args:
        space: as this version has it.
        begun: the choices of each parameter that was drawn, see `search/tuning/journal.py`.
    """
    if not begun:
        return space
    sample = space.sample
    return replace(space, sample=lambda trial: sample(cast(optuna.Trial, _Begun(trial, begun))))


class _Begun:
    """An Optuna trial whose choices are those that the run began with."""

    def __init__(self, trial: optuna.Trial, begun: Mapping[str, Sequence[Any]]):
        self.trial, self.begun = trial, begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trial, name)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose from what the run has chosen from.

        Raises:
            ValueError: this version lacks some of it.
        """
        before = self.begun.get(name, choices)
        if gone := [choice for choice in before if choice not in choices]:
            raise ValueError(
                f"the run began with {name} {gone[0]!r} among its choices, which this version lacks: go on with "
                "it by --extend NAME --trials N, which draws from what there is, or with the version that began it"
            )
        return self.trial.suggest_categorical(name, before)
