"""The sampled values: which of them vary, one line for a table, and what the best trials have in common."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

FIRST = ("architecture", "encoder", "loss", "optimizer", "scheduler", "oversampling", "augmentation")
"""Sampled names told first, whose values speak for themselves."""


ORIGIN = "promoted"
"""The name under which a run of promoted configs has whose config a trial got, such as `trash:7`."""


@dataclass(frozen=True)
class Shared:
    """A sampled name, its values among the best trials and among all."""

    name: str
    best: str
    every: str
    lift: float  # how far the best differ from all, 0 to 1


def varying(sampled: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sampled names of more than one value, in the order the space asked for them."""
    values: dict[str, set[str]] = {}
    for params in sampled:
        for name, value in params.items():
            values.setdefault(name, set()).add(str(value))
    return [name for name, distinct in values.items() if len(distinct) > 1]


def in_short(params: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    """Return sampled values on one line, the telling ones first; what is off is not told.

    Args:
        params: the sampled values.
        names: those to tell; None tells all.
    """
    chosen = [name for name in params if names is None or name in set(names)]
    parts = []
    for name in sorted(chosen, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        value = params[name]
        if value is True:
            parts.append(name)
        elif value not in (False, 0, "none"):
            parts.append(shown_value(value) if name in FIRST else f"{name}={shown_value(value)}")
    return " ".join(parts)


def config_in_short(config: Mapping[str, Any]) -> str:
    """Return a config on one line, for trials whose space sampled nothing: network, photos' size, loss, optimizer."""
    named = [config.get(name) for name in ("architecture", "encoder")]
    size = f"{config['image_size']}px" if "image_size" in config else None
    parts = [config.get(name, {}) for name in ("loss", "optimizer")]
    rate = parts[1].get("lr")
    named += [size, *(part.get("name") for part in parts), None if rate is None else f"lr={shown_value(rate)}"]
    return " ".join(str(value) for value in named if value is not None)


def shown_value(value: Any) -> str:
    """Return a value as a table shows it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def shared(best: Sequence[Mapping[str, Any]], every: Sequence[Mapping[str, Any]]) -> list[Shared]:
    """Compare the sampled values of the best trials with those of all, the most telling first.

    Numbers by how few of all lie in the range of the best, names by how many more have the most frequent value of the
    best. A value that only some trials have, because another asks for it, is compared among those, and counts as much
    as the share of the best that have it.
    """
    parameters = []
    for name in varying(every):
        values = [params[name] for params in best if name in params]
        background = [params[name] for params in every if name in params]
        if len(values) >= min(2, len(best)) > 0:  # what one of several has is not shared
            compare = _numbers if all(_is_number(value) for value in background) else _names
            parameter = compare(name, values, background)
            parameters.append(replace(parameter, lift=round(parameter.lift * len(values) / len(best), 6)))
    return sorted(parameters, key=lambda parameter: -parameter.lift)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(name: str, best: list[float], every: list[float]) -> Shared:
    within = sum(min(best) <= value <= max(best) for value in every)
    return Shared(name, _span(best), _span(every), 1 - within / len(every))


def _span(values: list[float]) -> str:
    ordered = sorted(values)
    if ordered[0] == ordered[-1]:
        return shown_value(ordered[0])
    return f"{shown_value(ordered[0])} to {shown_value(ordered[-1])}, median {shown_value(ordered[len(ordered) // 2])}"


def _names(name: str, best: list[Any], every: list[Any]) -> Shared:
    value, count = Counter(best).most_common(1)[0]
    before = sum(other == value for other in every)
    lift = count / len(best) - before / len(every) if count > 1 or len(best) == 1 else 0.0
    return Shared(name, f"{value} in {count} of {len(best)}", f"{value} in {before} of {len(every)}", lift)
