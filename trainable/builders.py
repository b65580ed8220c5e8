"""Builds a named part of the config from a table of builders."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trainable.config import Choice
from trainable.spelling import did_you_mean

Part = TypeVar("Part")


def build(kind: str, choice: Choice, builders: Mapping[str, Callable[..., Part]], **given: Any) -> Part:
    """Call the builder that `choice` names with the choice's parameters.

    Args:
        kind: what is built, for the error text ("loss").
        choice: the name and its parameters.
        builders: by name; their keyword arguments are the parameters a choice may set.
        given: arguments the caller knows; a builder gets those it has a parameter for.

    Raises:
        ValueError: an unknown name or parameter, with the known ones.
    """
    name = choice["name"]
    if name not in builders:
        raise ValueError(f"unknown {kind} {name!r}{did_you_mean(name, list(builders))}")
    accepted = inspect.signature(builders[name]).parameters
    parameters = {key: value for key, value in choice.items() if key != "name"}
    for key in parameters:
        if key not in accepted or key in given:
            settable = [parameter for parameter in accepted if parameter not in given]
            raise ValueError(f"{kind} {name!r} has no parameter {key!r}; it has {', '.join(settable) or 'none'}")
    try:
        return builders[name](**parameters, **{key: value for key, value in given.items() if key in accepted})
    except TypeError as error:
        raise ValueError(f"{kind} {choice} cannot be built: {error}") from error
