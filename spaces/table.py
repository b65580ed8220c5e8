"""The search spaces by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from spaces import losses


@dataclass(frozen=True)
class Space:
    """What a search may vary.

    `sample` is a pure function of an Optuna trial. It returns the parts of a trial's config that it decides; what it
    leaves out has the search's value.
    """

    sample: Callable[[optuna.Trial], dict[str, Any]]
    first_trials: tuple[dict[str, Any], ...]  # sampled names and values to try before anything else


SPACES: dict[str, Space] = {
    "losses": Space(losses.losses, losses.FIRST_TRIALS),
}


def find_space(name: str) -> Space:
    """Return a space by name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in SPACES:
        raise ValueError(f"unknown space {name!r}; the spaces are: {', '.join(SPACES)}")
    return SPACES[name]
