"""Optimizers over parameter groups: the encoder's layers and the rest, with and without weight decay."""

from collections.abc import Callable
from typing import Any

import torch
from timm.optim import AdaBelief, Lamb, Lion
from torch import nn
from torch.optim import Optimizer

from trainable.builders import build
from trainable.config import Choice
from trainable.model.layer_rates import layer_factors
from trainable.model.lookahead import Lookahead

Groups = list[dict[str, Any]]

ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "maximize": False}

FIXED: dict[str, dict[str, Any]] = {
    "sgd": {"dampening": 0.0, "maximize": False},
    "adam": {**ADAM, "amsgrad": False, "decoupled_weight_decay": False},
    "adamw": {**ADAM, "amsgrad": False},
    "radam": ADAM,
    "nadam": {**ADAM, "momentum_decay": 4e-3, "decoupled_weight_decay": True},
    "lion": {"betas": (0.9, 0.99), "caution": False, "corrected_weight_decay": False, "maximize": False},
    "adabelief": {
        "betas": (0.9, 0.999), "eps": 1e-16, "amsgrad": False, "decoupled_decay": True, "fixed_decay": False,
        "rectify": True, "degenerated_to_sgd": True,
    },
    "lamb": {
        "betas": (0.9, 0.999), "eps": 1e-6, "bias_correction": True, "grad_averaging": True, "trust_clip": False,
        "always_adapt": False, "caution": False, "decoupled_decay": False, "corrected_weight_decay": False,
        "max_grad_norm": None,  # clipping is clip_norm's alone; timm's own default clips at 1
    },
}  # fmt: skip
"""Hyperparameters of each optimizer that no config changes; every one is given, so that no library's default decides.

The values are those of the sources.
"""


def build_optimizer(
    choice: Choice, model: nn.Module, encoder_lr_factor: float = 1.0, layer_decay: float = 1.0
) -> Optimizer:
    """Return the optimizer that `choice` names over the model's parameters.

    Args:
        choice: the optimizer and its parameters.
        model: whose parameters are trained.
        encoder_lr_factor: the encoder's rate as a share of the rest's.
        layer_decay: the rate of each layer of the encoder as a share of the next one's.

    Raises:
        ValueError: an unknown optimizer or parameter.
    """
    optimizer = build("optimizer", choice, OPTIMIZERS, groups=parameter_groups(model, layer_decay))
    for group in optimizer.param_groups:
        if group["part"] == "encoder":
            group["lr"] *= encoder_lr_factor * group["layer_factor"]
        if not group["decayed"]:
            group["weight_decay"] = 0.0
    return optimizer


def parameter_groups(model: nn.Module, layer_decay: float = 1.0) -> Groups:
    """Return the model's parameters in groups, the rest of the network before the encoder, its last layers first.

    Norms and biases, told by their single dimension, have groups of their own: weight decay is not for them.
    """
    named = list(model.named_parameters())
    encoder = [name for name, _ in named if ".encoder." in f".{name}"]
    factors = layer_factors(encoder, layer_decay)
    kinds: dict[tuple[str, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        part = "encoder" if name in factors else "rest"
        kinds.setdefault((part, factors.get(name, 1.0), parameter.ndim > 1), []).append(parameter)
    order = sorted(kinds, key=lambda kind: (kind[0] == "encoder", -kind[1], not kind[2]))
    return [
        {"params": kinds[kind], **dict(zip(("part", "layer_factor", "decayed"), kind, strict=True))} for kind in order
    ]


def sgd(groups: Groups, lr: float = 1e-2, weight_decay: float = 1e-4, momentum: float = 0.9) -> Optimizer:
    """Stochastic gradient descent with Nesterov's momentum."""
    return torch.optim.SGD(
        groups, lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True, **FIXED["sgd"]
    )


def adam(groups: Groups, lr: float = 1e-4, weight_decay: float = 0.0) -> Optimizer:
    """Adam as the reference recipe has it; its weight decay is L2, added to the gradient."""
    return torch.optim.Adam(groups, lr, weight_decay=weight_decay, fused=True, **FIXED["adam"])


def adamw(groups: Groups, lr: float = 1e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019."""
    return torch.optim.AdamW(groups, lr, weight_decay=weight_decay, fused=True, **FIXED["adamw"])


def radam(groups: Groups, lr: float = 1e-3, weight_decay: float = 0.0, decoupled: bool = True) -> Optimizer:
    """Rectified Adam, its weight decay decoupled or L2. Source: Liu et al. 2020."""
    return torch.optim.RAdam(groups, lr, weight_decay=weight_decay, decoupled_weight_decay=decoupled, **FIXED["radam"])


def nadam(groups: Groups, lr: float = 1e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Adam with Nesterov's momentum and decoupled weight decay. Source: Dozat 2016."""
    return torch.optim.NAdam(groups, lr, weight_decay=weight_decay, **FIXED["nadam"])


def lion(groups: Groups, lr: float = 1e-4, weight_decay: float = 1e-1) -> Optimizer:
    """The sign of a momentum, so rates are about a tenth of Adam's. Source: Chen et al. 2023."""
    return Lion(groups, lr, weight_decay=weight_decay, **FIXED["lion"])


def adabelief(groups: Groups, lr: float = 1e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Adam scaled by the gradient's deviation from its forecast, rectified. Source: Zhuang et al. 2020."""
    return AdaBelief(groups, lr, weight_decay=weight_decay, **FIXED["adabelief"])


def lamb(groups: Groups, lr: float = 5e-3, weight_decay: float = 1e-2) -> Optimizer:
    """Adam with a trust ratio per layer. Source: You et al. 2020."""
    return Lamb(groups, lr, weight_decay=weight_decay, **FIXED["lamb"])


def lookahead_adamw(
    groups: Groups, lr: float = 1e-3, weight_decay: float = 1e-2, alpha: float = 0.5, every: int = 6
) -> Optimizer:
    """AdamW under Lookahead: slow weights that go `alpha` of the way `every` steps."""
    return Lookahead(adamw(groups, lr, weight_decay), alpha, every)


def lookahead_radam(
    groups: Groups, lr: float = 1e-3, weight_decay: float = 0.0, alpha: float = 0.5, every: int = 6
) -> Optimizer:
    """RAdam under Lookahead, known as Ranger."""
    return Lookahead(radam(groups, lr, weight_decay), alpha, every)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "radam": radam,
    "nadam": nadam,
    "lion": lion,
    "adabelief": adabelief,
    "lamb": lamb,
    "lookahead_adamw": lookahead_adamw,
    "lookahead_radam": lookahead_radam,
}
