"""What a training will take of a GPU's memory: a physical estimate, corrected by what the run's own trials took.

The estimate adds up weights, what the forward pass keeps and what grows with the pixels; a Gaussian process over its
relative error learns the rest, so that a trial tells most of those with its architecture, its encoder and about its
size (Rasmussen and Williams 2006, chapter 2). The figures below are fitted to measured trainings by
`python -m benchmarks.memory`, which also replays how often the prediction is exceeded.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.config import TrialConfig

PARTS = (90.0, 5.06, 0.53, 316.0)
"""MB for a training as such, per MB of fp32 weights, per MB kept for the backward pass, per million pixels."""

LEVEL, SIZE, ARCHITECTURE, SIZE_OF_ARCHITECTURE, ENCODER, NOISE = 0.3, 0.10, 0.06, 0.06, 0.04, 0.08
"""Standard deviations of the estimate's relative error (log): a machine's, what depends on the size, and so on."""

LENGTHS = (0.6, 0.5, 1.2)
"""Factors (log) of weights, kept memory and pixels over which errors are alike."""

CONTEXT_MB = 600.0
"""What a process takes of a GPU beside PyTorch's own memory: CUDA's context and libraries."""

SURE = 2.0
"""Standard deviations between what is expected and what is given."""


@dataclass(frozen=True)
class Need:
    """What the memory of a training depends on."""

    architecture: str
    encoder: str
    weights_mb: float  # parameters that train, in fp32
    kept_mb: float  # by the forward pass of a micro-batch for the backward pass, in fp32
    megapixels: float  # of a micro-batch

    @property
    def estimate(self) -> float:
        """Peak in MB as it would be if all networks were alike."""
        level, weights, kept, pixels = PARTS
        return level + weights * self.weights_mb + kept * self.kept_mb + pixels * self.megapixels


def need_of(config: TrialConfig, weights_mb: float, photo_mb: float, accumulation: int = 1) -> Need:
    """Return the need of a config whose network has this footprint (`trainable/model/activation_memory.py`).

    Args:
        config: with the precision it trains in; `auto` is 16 bits, as a GPU nearly always chooses.
        weights_mb: of the network.
        photo_mb: kept of one photo.
        accumulation: parts that a batch is split into.
    """
    photos = math.ceil(config.batch_size / accumulation)
    wide = 2 if config.precision == "fp32" else 1
    megapixels = photos * math.prod(config.input_shape) / 1e6
    return Need(config.architecture, config.encoder, weights_mb, wide * photos * photo_mb, megapixels)


class MemoryModel:
    """Predicts peak memory from the trainings it has seen."""

    def __init__(self) -> None:
        self.needs: list[Need] = []
        self.errors: list[float] = []  # log of peak over estimate

    def observe(self, need: Need, peak_mb: float) -> None:
        """A training has shown its peak, in MB."""
        self.needs.append(need)
        self.errors.append(math.log(peak_mb / need.estimate))

    def predict(self, need: Need) -> tuple[float, float, float]:
        """Return what the training surely takes, is expected to take, and surely does not exceed, in MB."""
        mean, variance = 0.0, float(_alike([need], [need])[0, 0]) + NOISE**2
        if self.needs:
            covariance = _alike(self.needs, self.needs) + NOISE**2 * np.eye(len(self.needs))
            new = _alike([need], self.needs)[0]
            solved = np.linalg.solve(covariance, np.stack([np.array(self.errors), new], 1))
            mean, variance = float(new @ solved[:, 0]), variance - float(new @ solved[:, 1])
        spread = SURE * math.sqrt(variance)
        low, expected, high = (need.estimate * math.exp(mean + shift) for shift in (-spread, 0.0, spread))
        return low, expected, high


def _alike(first: list[Need], second: list[Need]) -> NDArray[np.float64]:
    """Return the covariance of the errors of trainings (N) and others (M), as (N, M)."""

    def same(name: str) -> NDArray[np.bool_]:
        return np.equal.outer([getattr(need, name) for need in first], [getattr(need, name) for need in second])

    far: NDArray[np.float64] = np.zeros((len(first), len(second)))
    for name, length in zip(("weights_mb", "kept_mb", "megapixels"), LENGTHS, strict=True):
        one, other = (np.log([max(getattr(need, name), 1e-3) for need in needs]) for needs in (first, second))
        far += (np.subtract.outer(one, other) / length) ** 2
    near, architecture = np.exp(-far / 2), same("architecture")
    apart = LEVEL**2 + ARCHITECTURE**2 * architecture + ENCODER**2 * same("encoder")
    return np.asarray(apart + (SIZE**2 + SIZE_OF_ARCHITECTURE**2 * architecture) * near)
