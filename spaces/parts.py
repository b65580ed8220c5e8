"""What a run offers to the spaces that it is made of, and what each of them gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna

from spaces import encoders, optimizers
from trainable.encoder_families import is_transformer

Params = dict[str, Any]
"""Values by the names they are sampled by."""

Drawn = Callable[[optuna.Trial, bool], dict[str, Any]]
"""Samples a part for a trial whose encoder is, or is not, a pretrained transformer."""

Given = tuple[tuple[str, dict[str, Any]], ...]
"""Where each given config comes from, and its parts."""


@dataclass(frozen=True)
class Scope:
    """What a run can offer to the spaces that depend on it."""

    models: tuple[encoders.Model, ...] = ()  # that can be built at every image size
    strides: encoders.Strides = field(default_factory=lambda: dict(encoders.STRIDES))  # that all these models take
    image_sizes: tuple[int, ...] = ()  # pixels per side, the run's own first
    pretrained: bool = True  # whether the encoders begin with weights
    freeze_shares: tuple[float, ...] = optimizers.FREEZE_SHARES  # of the budget, for which these may be frozen
    epochs: int = 100  # of a trial's full budget
    given: Given = ()  # configs, where they are given
    encoder: str = ""  # where no space chooses one
    by_kind: bool = True  # whether transformers have ranges of their own, as all runs have that began with them
    gpu: bool = False  # whether it trains on GPUs
    batch_sizes: tuple[int, ...] = ()  # photos per step, where they are to choose from
    tile_sizes: tuple[int, ...] = ()  # pixels per side of crops, where they are to choose from
    sides: bool = False  # whether some classes are others in a mirror
    background: bool = True  # whether there is a class of what nothing covers

    def draws_transformer(self, config: dict[str, Any]) -> bool:
        """Tell whether what has been drawn so far, or what the run is given, is a transformer with weights."""
        return self.by_kind and self.pretrained and is_transformer(config.get("encoder", self.encoder))


@dataclass(frozen=True)
class Part:
    """One of the spaces that a run is made of."""

    sample: Drawn
    first_trials: tuple[Params, ...]
    samples_rate: bool = False
    """Whether it samples AdamW's learning rate too, as long as no other space decides on the optimizer."""
