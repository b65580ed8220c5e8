"""What a search knows from earlier ones before its first trial: `priors.json` in its run folder.

Their trials are there in the terms of this search's space. The sampler sees them as trials of its own, fewer of them
the more it has of its own; forecasts take the curves of those that went to the end of the same budget; and the best few
configs are tried first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.tuning.config_to_params import known
from spaces.table import Space
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import is_count, object_rule, read_record, undamaged

FILE = "priors.json"
FORMAT = 1

FIRST = 3
"""Earlier configs that are tried first, at most."""

HALF = {True: 20, False: 5}
"""Trials of its own after which a search's sampler sees half of the priors, if they are of the same data and settings.

Others may mislead: see docs/search-benchmark.md.
"""

Own = Mapping[int, Sequence[float]]
"""val_miou by epoch of a search's own first trials, by number: those that have ended an epoch."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A trial of an earlier search."""

    run: str
    number: int
    params: dict[str, Any]  # what this search's space would have sampled for it, as far as it can say
    exact: bool  # the space can say all of it
    curve: list[float]  # val_miou by epoch
    epochs: int  # of its full budget
    end: float  # the best val_miou at its end, forecast where it was stopped
    same: bool  # it was trained on the same data and split, in all else as this search trains

    @property
    def whole(self) -> bool:
        """Whether it went to its end."""
        return len(self.curve) >= self.epochs


class Priors:
    """The priors of a search, brought to its scale."""

    def __init__(self, priors: Sequence[Prior], first: Sequence[int], epochs: int):
        """Hold some priors.

        Args:
            priors: in any order.
            first: positions of those whose configs are this search's first trials.
            epochs: of this search's full budget.
        """
        self.priors, self.first, self.epochs = list(priors), list(first), epochs

    def space(self, space: Space) -> Space:
        """Return a space whose first trials are the best earlier ones, then its own that no earlier search had."""
        best = [self.priors[position].params for position in self.first]
        own = [
            params
            for params in space.first_trials
            if not any(params.items() <= prior.params.items() for prior in self.priors)
        ]
        return replace(space, first_trials=(*best, *own))

    def curves(self, own: Own) -> NDArray[np.float64]:
        """Return the whole curves of this search's budget that are on its scale, (n, E)."""
        factors = self._factors(own)
        curves = [
            np.array(prior.curve) * (1.0 if prior.same else factors[prior.run])
            for prior in self.priors
            if prior.whole and prior.epochs == self.epochs and (prior.same or prior.run in factors)
        ]
        return np.array(curves).reshape(-1, self.epochs)

    def trials(self, space: Space, asked: int, own: Own) -> list[FrozenTrial]:
        """Return priors as the sampler sees them, numbered below 0: as many as `HALF` leaves, spread over the ranks.

        Args:
            space: that is sampled.
            asked: how many trials of its own the search has.
            own: val_miou by epoch of its first trials.
        """
        values = self.values(own)
        positions = []
        for same, half in HALF.items():
            ranked = sorted(
                (index for index, prior in enumerate(self.priors) if prior.same == same),
                key=lambda index: (-values[index], index),
            )
            count = math.ceil(len(ranked) * half / (half + asked))
            positions += [ranked[rank] for rank in np.linspace(0, len(ranked) - 1, count).round().astype(int)]
        trials = []
        for position in positions:
            params, distributions = self.priors[position].params, known(space, self.priors[position].params)
            trial = create_trial(
                state=TrialState.COMPLETE,
                value=values[position],
                distributions=distributions,
                params={name: params[name] for name in distributions},
            )
            trial.number = -1 - position
            trials.append(trial)
        return trials

    def values(self, own: Own) -> list[float]:
        """Return where each prior ended, on this search's scale.

        What was trained on the same data in the same way is as it was. Else values are multiplied by the ratio of the
        configs that both searches have. Until there is one, a run's median is taken to be that of the others.
        """
        factors = self._factors(own)
        comparable = [
            prior.end * (1.0 if prior.same else factors[prior.run])
            for prior in self.priors
            if prior.same or prior.run in factors
        ]
        level = float(np.median(comparable)) if comparable else 1.0
        for run in {prior.run for prior in self.priors if not prior.same} - factors.keys():
            typical = float(np.median([prior.end for prior in self.priors if prior.run == run and not prior.same]))
            factors[run] = level / typical if typical > 0 else 1.0
        return [prior.end * (1.0 if prior.same else factors[prior.run]) for prior in self.priors]

    def _factors(self, own: Own) -> dict[str, float]:
        """Return the median ratio of this search's values to an earlier one's, by run, where both have a config."""
        ratios: dict[str, list[float]] = {}
        for number, position in enumerate(self.first):
            prior = self.priors[position]
            if not prior.same and own.get(number) and max(prior.curve) > 0:
                ratios.setdefault(prior.run, []).append(self._ratio(own[number], prior))
        return {run: float(np.median(run_ratios)) for run, run_ratios in ratios.items()}

    def _ratio(self, own: Sequence[float], prior: Prior) -> float:
        """Return one config's ratio at the last share of the budget that both curves came to."""
        share = min(len(own) / self.epochs, len(prior.curve) / prior.epochs)
        own_best, prior_best = (
            max(values[: max(round(share * epochs), 1)])
            for values, epochs in ((own, self.epochs), (prior.curve, prior.epochs))
        )
        return own_best / prior_best if prior_best > 0 else 1.0

    def record(self) -> dict[str, Any]:
        """Return the content of priors.json."""
        return {"format": FORMAT, "first": self.first, "priors": [asdict(prior) for prior in self.priors]}


def read_priors(run: RunFolder, epochs: int) -> Priors | None:
    """Return what a run has of earlier searches, or None.

    Raises:
        DamagedError: priors.json is none.
    """
    path = run.path / FILE
    if not path.exists():
        return None
    content = read_record(path, object_rule, FORMAT)
    with undamaged(path):
        priors, first = [Prior(**entry) for entry in content["priors"]], list(content["first"])
        if not all(is_count(position) and position < len(priors) for position in first):
            raise ValueError(f"first has positions {first}, there are {len(priors)} priors")
    return Priors(priors, first, epochs)
