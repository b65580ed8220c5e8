"""Optimizers, and learning-rate schedules as functions of the share of the budget that is spent."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainable.choices import build
from trainable.config import Choice

Schedule = Callable[[float], float]
"""Maps the share of the full budget that is spent (0 to 1) to a factor on the learning rate."""


def build_optimizer(choice: Choice, parameters: Iterable[Tensor]) -> Optimizer:
    """Return the optimizer that `choice` names.

    Raises:
        ValueError: an unknown optimizer or parameter.
    """
    return build("optimizer", choice, OPTIMIZERS, parameters=parameters)


def build_schedule(choice: Choice) -> Schedule:
    """Return the schedule that `choice` names.

    Raises:
        ValueError: an unknown schedule or parameter.
    """
    return build("scheduler", choice, SCHEDULES)


def adam(parameters: Iterable[Tensor], lr: float = 1e-4) -> Optimizer:
    """Adam as the reference recipe has it, without weight decay."""
    return torch.optim.Adam(parameters, lr, fused=True)


def adamw(parameters: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)


def radam(parameters: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Rectified Adam with decoupled weight decay."""
    return torch.optim.RAdam(parameters, lr, weight_decay=weight_decay, decoupled_weight_decay=True)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": adam, "adamw": adamw, "radam": radam}


def constant() -> Schedule:
    """The full learning rate throughout."""
    return lambda spent: 1.0


def cosine(warmup: float = 0.05, floor: float = 0.01) -> Schedule:
    """Linear warm-up over a share of the budget, then half a cosine down to `floor` of the learning rate."""
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a share of the budget, 0 to below 1, found {warmup}")

    def factor(spent: float) -> float:
        if spent < warmup:
            return max(spent / warmup, 0.01)
        along = (spent - warmup) / (1 - warmup)
        return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2

    return factor


SCHEDULES: dict[str, Callable[..., Schedule]] = {"constant": constant, "cosine": cosine}
