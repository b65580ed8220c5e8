"""Says an earlier config in the terms of a space: the values by which the space would have sampled it.

A space is a pure function of a trial, so this is found by asking it: value by value, whatever comes nearest to the
config. A trial of `losses` becomes one of `losses+optimizers` in this way, with the optimizer that it had unsampled.
"""

from collections.abc import Mapping
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
        given = name in self._params and allows(distribution, self._params[name])
        self._suggested_params[name] = value = self._params[name] if given else _ends(distribution)[0]
        self._distributions[name] = distribution
        return value


def known(space: Space, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what a space draws some values from, as far as it knows and allows them: its ranges may have changed."""
    asked = Asked(dict(params))
    _sampled(space, asked)
    return {name: each for name, each in asked.distributions.items() if name in params and allows(each, params[name])}


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
    said: list[str] = []
    while True:
        asked = Asked({**sampled, **chosen})
        parts = _sampled(space, asked)
        if sampled and not chosen and asked.params.items() <= sampled.items() and _met(parts, config, leaves):
            said = list(asked.params)  # the space is the trial's own
            break
        name = next((each for each in asked.distributions if each not in chosen), None)
        if name is None:
            break
        first, tries = asked.params[name], _choices(asked.distributions[name], numbers)
        found = [(_apart(_sampled(space, Asked({**sampled, **chosen, name: value})), leaves), value) for value in tries]
        nearest, chosen[name] = min([(_apart(parts, leaves), first), *found], key=lambda each: each[0])
        # A value that makes no difference says nothing, unless it was sampled under this very name.
        if (name in sampled and chosen[name] == sampled[name]) or any(apart > nearest for apart, _ in found):
            said.append(name)
    params = {name: asked.params[name] for name in said if name in asked.params}
    distributions = {name: asked.distributions[name] for name in params}
    return Expressed(params, distributions, _met(parts, config, leaves), frozenset(parts))


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


def _apart(parts: Mapping[str, Any], leaves: Mapping[str, Any]) -> int:
    """Count the values in which what a space decides differs from a config."""
    found, under = _leaves(parts), _under(leaves, parts)
    return sum(name not in found or name not in under or found[name] != under[name] for name in found | under)


def _met(parts: Mapping[str, Any], config: Mapping[str, Any], leaves: Mapping[str, Any]) -> bool:
    """Tell whether what a space decides has all that a config says, and nothing that it has otherwise by default."""
    found = _leaves(parts)
    said = _under(_leaves(config), parts)
    return said.items() <= found.items() and all(leaves.get(name, value) == value for name, value in found.items())


def _under(leaves: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config that are for a space to decide."""
    return {name: value for name, value in leaves.items() if name.split("/")[0] in parts}


def _leaves(content: Any, path: str = "") -> dict[str, Any]:
    """Return all values in nested objects and lists by their path, list entries by their name where they have one."""
    if isinstance(content, Mapping):
        items = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list | tuple):
        items = [
            (str(each.get("name", index) if isinstance(each, Mapping) else index), each)
            for index, each in enumerate(content)
        ]
    else:
        return {path: content}
    return {
        name: value for key, each in items for name, value in _leaves(each, f"{path}/{key}" if path else key).items()
    }
