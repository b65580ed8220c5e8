"""Variants of a config for a larger budget: what is best of rate, decay, augmentation and oversampling depends on it.

A short training likes a high rate and little regularisation; a longer one can afford less of the first and more of the
second. So these are searched again, near what was best, where there is time for it.
"""

from typing import Any

import optuna

from spaces.augmentations import augmentations
from spaces.oversampling import oversampling

RATE = (0.4, 2.5)
"""Times the learning rate: from 12 to 48 epochs, four times the steps, halving and doubling are the steps to try."""

DECAY = (0.1, 10.0)
"""Times the weight decay, where the search varied it."""


def variant(
    trial: optuna.Trial, config: dict[str, Any], spaces: tuple[str, ...], background: bool = True, sides: bool = False
) -> dict[str, Any]:
    """Return a config's parts with those knobs drawn anew whose best value depends on the budget.

    Args:
        trial: to draw by.
        config: parts with `optimizer` and `image_size` at least.
        spaces: names of those that were searched: knobs of others stay as they are, but for the rate.
        background: whether the data has a class of what nothing covers.
        sides: whether some classes are others in a mirror.
    """
    optimizer = {**config["optimizer"]}
    if "lr" in optimizer:
        optimizer["lr"] *= trial.suggest_float("rate_factor", *RATE, log=True)
    if "optimizers" in spaces and optimizer.get("weight_decay"):
        optimizer["weight_decay"] *= trial.suggest_float("decay_factor", *DECAY, log=True)
    drawn: dict[str, Any] = {"optimizer": optimizer}
    if "augmentations" in spaces and trial.suggest_categorical("augment_anew", (False, True)):
        drawn |= augmentations(trial, (config["image_size"],), sides=sides)
    if "oversampling" in spaces and trial.suggest_categorical("oversample_anew", (False, True)):
        drawn |= oversampling(trial, background)
    return {**config, **drawn}
