"""The optimizers, their learning rates by kind of encoder, and what surrounds a step: decay, clipping, averaging."""

from typing import Any

import optuna

# Peak learning rates, per optimizer step. Each range surrounds the default of its source by a decade or more; the
# reference has Adam at 1e-4 for 200 epochs, short budgets want more.
RATES = {
    "sgd": (1e-3, 1e-1),  # 1e-2 with momentum in DeepLab
    "adam": (1e-4, 1e-2),  # 1e-3 in Kingma and Ba 2015
    "adamw": (1e-4, 1e-2),
    "radam": (1e-4, 2e-2),  # less sensitive to a large rate: Liu et al. 2020
    "nadam": (1e-4, 1e-2),
    "lion": (2e-5, 1e-3),  # 3 to 10 times smaller than AdamW's: Chen et al. 2023
    "adabelief": (1e-4, 1e-2),
    "lamb": (5e-4, 5e-2),  # its trust ratio shrinks the step
    "lookahead_adamw": (1e-4, 1e-2),
    "lookahead_radam": (1e-4, 2e-2),
}
COUPLED = ("sgd", "adam")
"""Their weight decay is added to the gradient, so it is scaled by the rate and wants smaller values."""


PRETRAINED = ("encoder_lr_factor", "freeze_share")
"""What is sampled only where encoders begin with weights."""

FREEZE_SHARES = (0.0, 0.1, 0.2)
"""Of the budget, in which only the decoder learns."""


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


def freeze_shares(epochs: int) -> tuple[float, ...]:
    """Return the shares that differ within a budget: the encoder is frozen for whole epochs."""
    frozen = [round(share * epochs) for share in FREEZE_SHARES]
    return tuple(share for index, share in enumerate(FREEZE_SHARES) if frozen[index] not in frozen[:index])


def optimizers(
    trial: optuna.Trial,
    pretrained: bool = True,
    shares: tuple[float, ...] = FREEZE_SHARES,
    transformer: bool = False,
    batch_sizes: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Sample an optimizer, its rates and what surrounds a step.

    Args:
        trial: that asks.
        pretrained: whether the encoder begins with weights: only then is it worth sparing.
        shares: of the budget, for which it may be frozen.
        transformer: whether the encoder is a pretrained transformer, whose rates are lower.
        batch_sizes: photos per step to choose from; none leaves them alone.
    """
    name = trial.suggest_categorical("optimizer", list(RATES))
    optimizer: dict[str, Any] = {"name": name, "lr": rate(trial, f"{name}_lr", *RATES[name], transformer)}
    if name in COUPLED:
        # per step, of the weights but norms and biases; 1e-4 in DeepLab
        optimizer["weight_decay"] = trial.suggest_float("l2", 1e-6, 1e-3, log=True)
    else:
        # per step and unit of rate; 1e-2 is PyTorch's default, 0.05 usual for transformers
        optimizer["weight_decay"] = trial.suggest_float("weight_decay", 1e-4, 3e-1, log=True)
    if name == "radam":
        optimizer["decoupled"] = trial.suggest_categorical("radam_decoupled", (True, False))
    parts: dict[str, Any] = {"optimizer": optimizer}
    if pretrained:
        # relative to the decoder's; 0.1 is usual
        parts["encoder_lr_factor"] = trial.suggest_float("encoder_lr_factor", 0.05, 1.0, log=True)
    # norm of the whole gradient; 0 is off
    parts["clip_norm"] = trial.suggest_categorical("clip_norm", (0.0, 1.0, 5.0))
    # per step; 0 is off. 0.99 averages over about 100 steps, a few epochs of a small data set
    parts["ema_decay"] = trial.suggest_categorical("ema_decay", (0.0, 0.9, 0.97, 0.99))
    if pretrained and len(shares) > 1:
        parts["freeze_share"] = trial.suggest_categorical("freeze_share", shares)
    if batch_sizes:
        parts["batch_size"] = trial.suggest_categorical("batch_size", batch_sizes)
    return parts


def first_trials(
    pretrained: bool = True, shares: tuple[float, ...] = FREEZE_SHARES, best: bool = True
) -> tuple[dict[str, Any], ...]:
    """Return the reference recipe first and the recorded winner last, if it is wanted, in what a run samples."""
    unsampled = {"freeze_share"} if len(shares) < 2 else set()
    if not pretrained:
        unsampled = set(PRETRAINED)
    return tuple(
        {name: value for name, value in params.items() if name not in unsampled}
        for params in (*FIRST_TRIALS, *((BEST,) if best else ()))
    )


PLAIN = {"encoder_lr_factor": 1.0, "clip_norm": 0.0, "ema_decay": 0.0, "freeze_share": 0.0}

FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: Adam, and RAdam as its teams tried it
    {"optimizer": "adam", "adam_lr": 1e-4, "l2": 1e-6, **PLAIN},
    {"optimizer": "radam", "radam_lr": 1e-4, "weight_decay": 1e-4, "radam_decoupled": False, **PLAIN},
)

BEST: dict[str, Any] = {
    **PLAIN, "optimizer": "nadam", "nadam_lr": 6.3e-4, "weight_decay": 1.5e-3, "encoder_lr_factor": 0.096,
}  # fmt: skip
"""docs/results.md has the run."""
