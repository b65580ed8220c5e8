"""Ranges of learning rates by kind of encoder, and AdamW's for spaces whose choices each want a rate of their own."""

from typing import Any

import optuna

LOWER = 1 / 20
"""A pretrained transformer's rates as a share of a convolutional network's.

AdamW's 1e-4 to 1e-2 become 5e-6 to 5e-4: around 2e-5 (BEiT-L), 4e-5 (EVA-02-L), 6e-5 (Swin, SegFormer), 8e-5
(ConvNeXt-XL) and 1e-4 (ConvNeXt-B) of the recipes in `spaces/recipes.py` and of SegFormer (Xie et al. 2021).
"""

WEIGHT_DECAY = 0.05
"""Of pretrained transformers where no space varies it: as in ConvNeXt's, BEiT's and EVA-02's recipes."""


def rate_name(name: str, transformer: bool) -> str:
    """Return the name a rate is sampled by: what is learnt of one kind of encoder says nothing of the other."""
    return f"transformer_{name}" if transformer else name


def in_range(value: float, low: float, high: float, transformer: bool) -> float:
    """Return what comes nearest to a rate in its kind's range."""
    share = LOWER if transformer else 1.0
    return min(max(value, low * share), high * share)


def rate(trial: optuna.Trial, name: str, low: float, high: float, transformer: bool) -> float:
    """Sample a learning rate, per optimizer step at the schedule's peak, from a convolutional network's range."""
    share = LOWER if transformer else 1.0
    return trial.suggest_float(rate_name(name, transformer), low * share, high * share, log=True)


ADAMW = (1e-4, 1e-2)
"""Of convolutional networks; the reference has 1e-4 for 200 epochs, short budgets want more."""


def learning_rate(trial: optuna.Trial, transformer: bool = False) -> dict[str, Any]:
    """Sample AdamW's learning rate."""
    optimizer: dict[str, Any] = {"name": "adamw", "lr": rate(trial, "lr", *ADAMW, transformer)}
    return {"optimizer": {**optimizer, "weight_decay": WEIGHT_DECAY} if transformer else optimizer}
