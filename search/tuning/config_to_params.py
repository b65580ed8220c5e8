"""Says an earlier config in the terms of a space: the values by which the space would have sampled it.

A space is a pure function of a trial, so this is found by asking it: value by value, whatever comes nearest to the
config. A trial of `losses` becomes one of `losses+optimizers` in this way, with the optimizer that it had unsampled.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from search.tuning.optuna_adapter import allows
from spaces.table import Space


@dataclass(frozen=True)
class Expressed:
    """A config in the terms of a space, as far as that has any for it."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]  # that the space draws them from
    exact: bool  # nothing that the config says comes out otherwise; what it leaves to a default is left out
    decided: frozenset[str]  # keys of the config that are the space's to decide


class Asked(FixedTrial):
    """Gives a space the values that it allows of some given ones, else the first or lowest of a range."""

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        fits = name in self._params and allows(distribution, self._params[name])
        self._suggested_params[name] = value = self._params[name] if fits else _ends(distribution)[0]
        self._distributions[name] = distribution
        return value


def known(space: Space, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what a space draws some values from, as far as it knows and allows them: its ranges may have changed."""
    trial = Asked(dict(params))
    _sampled(space, trial)
    return {
        name: distribution
        for name, distribution in trial.distributions.items()
        if name in params and allows(distribution, params[name])
    }


def express(
    space: Space, config: Mapping[str, Any], sampled: Mapping[str, Any], spelled: Mapping[str, Any] | None = None
) -> Expressed:
    """Say a config in the terms of a space.

    Args:
        space: whose terms are wanted.
        config: of a trial, as its config.json has it.
        sampled: what the trial's own space has sampled: kept where name, range and effect are the same here.
        spelled: the config with the defaults of its parts, where they are known.
    """
    leaves = _leaves(spelled or config)
    numbers = [value for value in leaves.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    chosen: dict[str, Any] = {}
    names: list[str] = []
    while True:
        trial = Asked({**sampled, **chosen})
        parts = _sampled(space, trial)
        if sampled and not chosen and trial.params.items() <= sampled.items() and _agrees(parts, config, leaves):
            names = list(trial.params)  # the space is the trial's own
            break
        name = next((param for param in trial.distributions if param not in chosen), None)
        if name is None:
            break
        first, tries = trial.params[name], _choices(trial.distributions[name], numbers)
        outcomes = [(_sampled(space, Asked({**sampled, **chosen, name: value})), value) for value in tries]
        # What all of them decide comes first: a transformer decides on drop path too, and an encoder that does not is
        # no nearer for that.
        common = set(parts).intersection(*(outcome for outcome, _ in outcomes))
        first_distance = _distance(parts, leaves, common)
        distances = [(_distance(outcome, leaves, common), value) for outcome, value in outcomes]
        nearest, chosen[name] = min([(first_distance, first), *distances], key=lambda pair: pair[0])
        # A value that makes no difference says nothing, unless it was sampled under this very name.
        if (name in sampled and chosen[name] == sampled[name]) or any(distance > nearest for distance, _ in distances):
            names.append(name)
    params = {name: trial.params[name] for name in names if name in trial.params}
    distributions = {name: trial.distributions[name] for name in params}
    return Expressed(params, distributions, _agrees(parts, config, leaves), frozenset(parts))


def _sampled(space: Space, trial: FixedTrial) -> dict[str, Any]:
    return space.sample(trial)  # type: ignore[arg-type]  # it has all that a space may ask


def _choices(distribution: BaseDistribution, numbers: list[Any]) -> list[Any]:
    """Return what to try: all choices, or the numbers of a config that a range allows and its own ends."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    kind = float if isinstance(distribution, FloatDistribution) else int
    return [*dict.fromkeys(kind(value) for value in numbers if allows(distribution, value)), *_ends(distribution)]


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _distance(parts: Mapping[str, Any], leaves: Mapping[str, Any], common: Collection[str]) -> tuple[int, int]:
    """Return how far what a space decides is from a config, in some of its keys and in all."""
    shared = {key: part for key, part in parts.items() if key in common}
    return _count_differences(shared, leaves), _count_differences(parts, leaves)


def _count_differences(parts: Mapping[str, Any], leaves: Mapping[str, Any]) -> int:
    """Count the values in which what a space decides differs from a config."""
    decided, in_config = _leaves(parts), _decided(leaves, parts)
    return sum(
        name not in decided or name not in in_config or decided[name] != in_config[name] for name in decided | in_config
    )


def _agrees(parts: Mapping[str, Any], config: Mapping[str, Any], leaves: Mapping[str, Any]) -> bool:
    """Tell whether what a space decides has all that a config says, and nothing that it has otherwise by default."""
    decided = _leaves(parts)
    in_config = _decided(_leaves(config), parts)
    return in_config.items() <= decided.items() and all(
        leaves.get(name, value) == value for name, value in decided.items()
    )


def _decided(leaves: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config that are for a space to decide."""
    return {name: value for name, value in leaves.items() if name.split("/")[0] in parts}


def _leaves(content: Any, path: str = "") -> dict[str, Any]:
    """Return all values in nested objects and lists by their path, list entries by their name where they have one."""
    if isinstance(content, Mapping):
        items = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list | tuple):
        items = [
            (str(entry.get("name", index) if isinstance(entry, Mapping) else index), entry)
            for index, entry in enumerate(content)
        ]
    else:
        return {path: content}
    return {
        name: value for key, entry in items for name, value in _leaves(entry, f"{path}/{key}" if path else key).items()
    }
