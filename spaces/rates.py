"""AdamW's learning rate, for spaces whose choices each want a rate of their own."""

from typing import Any

import optuna


def learning_rate(trial: optuna.Trial) -> dict[str, Any]:
    """Sample AdamW's learning rate."""
    # per optimizer step at the schedule's peak; the reference has 1e-4 for 200 epochs, short budgets want more
    return {"optimizer": {"name": "adamw", "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}}
