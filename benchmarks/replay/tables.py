"""What a replayed search searches: configs of a real space, and the learning curve that each of them has."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks.replay.simulate import Begun
from search.preparation.warm_start import best_first, with_ends
from search.tuning.priors import Prior, Priors
from spaces.parts import Scope
from spaces.table import JOINT, Space, find_space

Params = Mapping[str, Any]
Distributions = Mapping[str, BaseDistribution]

MODELS = tuple(
    (architecture, encoder)
    for encoder in ("tu-tf_efficientnet_lite0", "mobilenet_v2", "resnet18", "mit_b0")
    for architecture in ("unetplusplus", "deeplabv3plus", "fpn")
)


class Table(Protocol):
    """Answers what a training would report."""

    @property
    def epochs(self) -> int:
        """Of the full budget."""

    @property
    def space(self) -> Space:
        """What is searched."""

    @property
    def trials(self) -> int:
        """That a search can begin."""

    def begin(self, params: Params, distributions: Distributions) -> Begun:
        """Return the val_miou that is reported after each epoch, (epochs,), and what it comes to without noise."""

    @property
    def best(self) -> float:
        """The highest worth there is."""


class Primed(Table, Protocol):
    """A table of which an earlier search has seen a part."""

    def priors(self) -> Priors:
        """Return what a search knows that starts warm."""


def priors_of(curves: Sequence[tuple[Params, list[float]]], epochs: int) -> Priors:
    """Return configs with their curves, on the same data, as priors of a search with a budget."""
    priors = [
        Prior(
            run="earlier",
            number=number,
            params=dict(params),
            exact=True,
            curve=curve,
            epochs=epochs,
            end=max(curve),
            same=True,
        )
        for number, (params, curve) in enumerate(curves)
    ]
    return Priors(with_ends(priors), best_first(priors), epochs)


def joint_space() -> Space:
    """Return the space `joint` of a dozen models at two image sizes."""
    strides: dict[str, tuple[int, ...]] = {"deeplabv3plus": (16,), "pan": (16,)}
    space = find_space(JOINT, Scope(MODELS, strides, (96, 64)))
    return Space(space.sample, ())  # what is best for photos says nothing of curves that are made up


def scaled(value: Any, distribution: BaseDistribution) -> float:
    """Return where in its range a number lies, 0 to 1."""
    low, high, log = distribution.low, distribution.high, distribution.log  # type: ignore[attr-defined]
    if log:
        value, low, high = np.log(value), np.log(low), np.log(high)
    return float((value - low) / (high - low)) if high > low else 0.5


@dataclass(frozen=True)
class Toy:
    """Curves that rise to what their config is worth.

    Each value of each parameter adds to the worth or takes from it, numbers by their distance from a best value.
    """

    crossing: bool
    """Whether good configs are slow: what leads early is then not what wins. Otherwise all rise alike."""
    seed: int = 0
    epochs: int = 27
    noise: float = 0.01
    trials: int = 10_000

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        return joint_space()

    @cached_property
    def best(self) -> float:
        """The highest worth of 2,000 random configs."""
        return max(self.worth(trial.params, trial.distributions) for trial in self._drawn(2000, seed=1))

    def priors(self) -> Priors:
        """Return 80 random configs of these curves."""
        drawn = self._drawn(80, seed=2)
        curves = [(trial.params, self.begin(trial.params, trial.distributions).curve.tolist()) for trial in drawn]
        return priors_of(curves, self.epochs)

    def _drawn(self, configs: int, seed: int) -> Iterator[optuna.Trial]:
        """Draw random configs."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        for _ in range(configs):
            trial = study.ask()
            self.space.sample(trial)
            yield trial

    def worth(self, params: Params, distributions: Distributions) -> float:
        """Return where the curve ends."""
        return float(self._rising(params, distributions)[-1])

    def begin(self, params: Params, distributions: Distributions) -> Begun:
        """Return the curve with its noise, which is the config's own."""
        rng = np.random.default_rng([self.seed, zlib.crc32(repr(sorted(params.items())).encode())])
        rising = self._rising(params, distributions)
        return Begun(rising + rng.normal(0, self.noise, self.epochs), float(rising[-1]))

    def _rising(self, params: Params, distributions: Distributions) -> NDArray[np.float64]:
        effects = []
        for name, value in params.items():
            if isinstance(distributions[name], CategoricalDistribution):
                effects.append(self._chance(name, str(value)).normal())
            else:
                best = self._chance(name).uniform(0.15, 0.85)
                effects.append(1 - 6 * (scaled(value, distributions[name]) - best) ** 2)
        limit = np.clip(0.4 + 0.1 * sum(effects) / len(effects) ** 0.5, 0.02, 0.95)
        slow = 1 + 10 * limit**2 if self.crossing else 3.0  # epochs
        reached: NDArray[np.float64] = limit * (1 - np.exp(-np.arange(1, self.epochs + 1) / slow))
        return reached

    def _chance(self, *names: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(repr(names).encode())])
