"""The losses. Their scales differ, so each is tried at its own learning rate."""

from typing import Any

import optuna

CLASS_WEIGHTS = ("inverse", "median_frequency", "effective_number")

LOSSES = (
    "cross_entropy", "weighted_cross_entropy", "ohem_cross_entropy", "boundary_cross_entropy", "focal", "dice",
    "jaccard", "lovasz", "tversky", "focal_tversky", "ce_dice", "focal_dice", "ce_lovasz",
)  # fmt: skip


def losses(trial: optuna.Trial) -> dict[str, Any]:
    """Sample a loss and the parameters it has."""
    name = trial.suggest_categorical("loss", LOSSES)
    loss: dict[str, Any] = {"name": name}
    if name == "weighted_cross_entropy":
        loss["scheme"] = trial.suggest_categorical("class_weights", CLASS_WEIGHTS)
    if name in ("cross_entropy", "weighted_cross_entropy"):
        # share of the target spread over all classes; 0.1 in Szegedy et al. 2016
        loss["label_smoothing"] = trial.suggest_float("label_smoothing", 0.0, 0.2)
    if name == "ohem_cross_entropy":
        # probability of the true class below which a pixel is hard; 0.7 is usual, 0 leaves the share alone (top-k)
        loss["threshold"] = trial.suggest_float("ohem_threshold", 0.0, 0.9)
        # share of the pixels that count at least; 1/16 in common segmentation recipes
        loss["share"] = trial.suggest_float("ohem_share", 0.05, 0.5, log=True)
    if name == "boundary_cross_entropy":
        # extra weight of a pixel at a boundary; 10 at the border in Ronneberger et al. 2015, on far thinner borders
        loss["weight"] = trial.suggest_float("boundary_weight", 0.5, 5.0)
        # pixels on each side
        loss["width"] = trial.suggest_int("boundary_width", 1, 4)
    if name in ("focal", "focal_dice"):
        # exponent; 0.5 to 5 tried, 2 best in Lin et al. 2017
        loss["gamma"] = trial.suggest_float("focal_gamma", 0.5, 4.0)
    if name in ("tversky", "focal_tversky"):
        # weights of false positives and false negatives; 0.3 and 0.7 best in Salehi et al. 2017
        loss["alpha"] = trial.suggest_float("tversky_alpha", 0.2, 0.8)
        loss["beta"] = trial.suggest_float("tversky_beta", 0.2, 0.8)
    if name == "focal_tversky":
        # exponent; 1/1.33 best of 1/3 to 1 in Abraham and Khan 2019
        loss["gamma"] = trial.suggest_float("focal_tversky_gamma", 0.5, 1.5)
    if name in ("ce_dice", "focal_dice", "ce_lovasz"):
        # share of the second loss
        loss["weight"] = trial.suggest_float("blend_weight", 0.1, 0.9)
    return {"loss": loss}


FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: plain cross-entropy, and focal
    {"loss": "cross_entropy", "label_smoothing": 0.0, "lr": 1e-4},
    {"loss": "focal", "focal_gamma": 2.0, "lr": 1e-4},
    # the same at a rate for short budgets from random weights
    {"loss": "cross_entropy", "label_smoothing": 0.0, "lr": 2e-3},
)

BEST: dict[str, Any] = {"loss": "ce_lovasz", "blend_weight": 0.26, "lr": 4.9e-4}
"""docs/results.md has the run."""
