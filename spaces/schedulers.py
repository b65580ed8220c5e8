"""The learning-rate schedules. All lengths are shares of the full budget: ASHA stops trials on their way through it."""

from typing import Any

import optuna

SCHEDULERS = ("constant", "cosine", "cosine_restarts", "one_cycle", "polynomial", "step", "plateau")


PATIENCE = 0.08, 0.3
"""Share of the budget without a better val_miou before `plateau` lowers the rate."""

PLATEAU_FROM = 3
"""Epochs from which on `plateau` can lower the rate before the end."""


def schedulers(trial: optuna.Trial, epochs: int) -> dict[str, Any]:
    """Sample a schedule and the parameters that it has and that matter in so many epochs."""
    names = SCHEDULERS if epochs >= PLATEAU_FROM else tuple(kind for kind in SCHEDULERS if kind != "plateau")
    name = trial.suggest_categorical("scheduler", names)
    scheduler: dict[str, Any] = {"name": name}
    if name == "cosine_restarts":
        # share of the budget; 0.14 with multiplier 2 makes three cycles, 1/200 to 1/4 in Loshchilov and Hutter 2017
        scheduler["first_cycle"] = trial.suggest_float("first_cycle", 0.1, 0.5)
        # each cycle as a multiple of the one before; 1 and 2 in the same source
        scheduler["multiplier"] = trial.suggest_float("cycle_multiplier", 1.0, 2.0)
        # share of a cycle
        scheduler["warmup"] = trial.suggest_float("cycle_warmup", 0.0, 0.3)
        # each peak as a share of the one before; the reference halves it
        scheduler["decay"] = trial.suggest_float("peak_decay", 0.3, 1.0)
    elif name == "one_cycle":
        # share of the budget; 0.3 in fastai, 0.45 in Smith and Topin 2018
        scheduler["warmup"] = trial.suggest_float("one_cycle_warmup", 0.1, 0.5)
    else:
        # share of the budget; about 5 epochs of 100 is usual
        scheduler["warmup"] = trial.suggest_float("warmup", 0.0, 0.2)
    if name == "cosine":
        # lowest factor
        scheduler["floor"] = trial.suggest_float("cosine_floor", 1e-3, 0.3, log=True)
    if name == "polynomial":
        # exponent; 0.9 in DeepLab
        scheduler["power"] = trial.suggest_float("power", 0.5, 2.0)
    if name == "step":
        # times the rate falls, and the factor; 1 to 3 times by 0.1 is the classic
        scheduler["drops"] = trial.suggest_int("drops", 1, 3)
        scheduler["gamma"] = trial.suggest_float("gamma", 0.1, 0.5)
    if name == "plateau":
        scheduler["factor"] = trial.suggest_float("plateau_factor", 0.1, 0.7)
        if round(PATIENCE[1] * epochs) > max(round(PATIENCE[0] * epochs), 1):  # whole epochs, at least one
            scheduler["patience"] = trial.suggest_float("patience", *PATIENCE)
    return {"scheduler": scheduler}


FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: cosine warm-up restarts
    {
        "scheduler": "cosine_restarts", "first_cycle": 0.25, "cycle_multiplier": 1.0, "cycle_warmup": 0.1,
        "peak_decay": 0.5, "lr": 1e-4,
    },
    # its learning rate raised to one for short budgets, without and with a schedule
    {"scheduler": "constant", "warmup": 0.0, "lr": 5e-4},
    {"scheduler": "cosine", "warmup": 0.05, "cosine_floor": 0.01, "lr": 5e-4},
)  # fmt: skip

BEST: dict[str, Any] = {"scheduler": "step", "warmup": 0.007, "drops": 2, "gamma": 0.46, "lr": 1e-3}
"""docs/results.md has the run."""
