"""The losses, with the learning rate: their scales differ, so none is judged at another's rate."""

from typing import Any

import optuna

CLASS_WEIGHTS = ("inverse", "median_frequency", "effective_number")

LOSSES = (
    "cross_entropy", "weighted_cross_entropy", "focal", "dice", "jaccard", "lovasz", "tversky",
    "ce_dice", "focal_dice", "ce_lovasz",
)  # fmt: skip


def losses(trial: optuna.Trial) -> dict[str, Any]:
    """Sample a loss, the parameters it has, and AdamW's learning rate."""
    name = trial.suggest_categorical("loss", LOSSES)
    loss: dict[str, Any] = {"name": name}
    if name == "weighted_cross_entropy":
        loss["scheme"] = trial.suggest_categorical("class_weights", CLASS_WEIGHTS)
    if name in ("cross_entropy", "weighted_cross_entropy"):
        # share of the target spread over all classes; 0.1 in Szegedy et al. 2016
        loss["label_smoothing"] = trial.suggest_float("label_smoothing", 0.0, 0.2)
    if name in ("focal", "focal_dice"):
        # exponent; 0.5 to 5 tried, 2 best in Lin et al. 2017
        loss["gamma"] = trial.suggest_float("focal_gamma", 0.5, 4.0)
    if name == "tversky":
        # weights of false positives and false negatives; 0.3 and 0.7 best in Salehi et al. 2017
        loss["alpha"] = trial.suggest_float("tversky_alpha", 0.2, 0.8)
        loss["beta"] = trial.suggest_float("tversky_beta", 0.2, 0.8)
    if name in ("ce_dice", "focal_dice", "ce_lovasz"):
        # share of the second loss
        loss["weight"] = trial.suggest_float("blend_weight", 0.1, 0.9)
    # per optimizer step at the schedule's peak; the reference has 1e-4 for 200 epochs, short budgets want more
    lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    return {"loss": loss, "optimizer": {"name": "adamw", "lr": lr}}


FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: plain cross-entropy, and focal
    {"loss": "cross_entropy", "label_smoothing": 0.0, "lr": 1e-4},
    {"loss": "focal", "focal_gamma": 2.0, "lr": 1e-4},
    # the same at a rate for short budgets
    {"loss": "cross_entropy", "label_smoothing": 0.0, "lr": 2e-3},
)
