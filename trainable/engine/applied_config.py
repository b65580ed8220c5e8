"""Proves that a trial trains what its config says, by reading the live objects back.

What the config asks for is worked out from the config alone, apart from the code that set the training up: a setter
that was skipped, overridden or handed another value shows. Weights that were downloaded are not compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import albumentations as A
import numpy as np
import torch
from torch import nn

from trainable.classes import IGNORE_INDEX
from trainable.config import TrialConfig
from trainable.dataset.class_counts import class_counts
from trainable.engine.config_defaults import spelled_out
from trainable.engine.fold_training import FoldTraining
from trainable.engine.readback import Finding, kind, optimizer_findings, settings_findings
from trainable.engine.train_step import DTYPES
from trainable.model.layer_rates import layer_factors
from trainable.model.lookahead import Lookahead
from trainable.model.losses import Loss, build_loss
from trainable.model.optim import build_optimizer
from trainable.model.schedules import Schedule, build_schedule
from trainable.model.segmenter import FORMATS, build_empty, loaded_encoder
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.mixing import build_mixing
from trainable.pipeline.oversampling import Draws, build_draws

PROBES = (0.0, 0.1, 0.37, 0.5, 0.73, 0.98)
"""Shares of the budget at which schedules are compared."""


class ConfigNotAppliedError(RuntimeError):
    """The training is another one than its config describes."""


class Attestation:
    """Compares a training's live objects with its config."""

    def __init__(self, training: FoldTraining, config: TrialConfig):
        settled = training.config
        self.training = training
        # What was asked, but for what the machine was to choose.
        chosen = [name for name in ("device", "precision", "memory_format") if getattr(config, name) == "auto"]
        self.config = replace(config, **{name: getattr(settled, name) for name in chosen})

    def check(self, epoch: int = 1, share: float | None = None, val_mious: Sequence[float] = ()) -> dict[str, Any]:
        """Compare all there is: before the first step, or after the one at a share of an epoch, counted from 1.

        Returns:
            What was found, by name, as json can hold it.

        Raises:
            ConfigNotAppliedError: something differs: all differences with what was asked and found.
        """
        # Before the first step the schedule has set nothing yet.
        factor = 1.0 if share is None else self._schedule((epoch - 1 + share) / self.config.epochs, val_mious)
        findings = [*self._optimizer(factor), *self._steps(epoch), *self._data(), *self._model()]
        if share is None and self.training.is_fresh:
            findings += self._encoder_weights()
        wrong = [
            f"{name} (asked {_show(asked)}, found {_show(actual)})"
            for name, asked, actual in findings
            if not _same(asked, actual)
        ]
        if wrong:
            raise ConfigNotAppliedError(f"config not applied: {', '.join(wrong)}")
        return {name: _show(actual) for name, _, actual in findings}

    def _optimizer(self, factor: float) -> Iterator[Finding]:
        choice, live = self.config.optimizer, self.training.optimizer
        toy = build_optimizer(choice, nn.ModuleDict({"encoder": nn.Conv2d(1, 1, 1)}))
        yield "optimizer", kind(toy), kind(live)
        yield from optimizer_findings(choice, live, self.config.encoder_lr_factor, factor)
        yield "layer_decay", *self._layer_factors()
        trained = sum(parameter.numel() for group in live.param_groups for parameter in group["params"])
        yield "trained parameters", sum(parameter.numel() for parameter in self.training.model.parameters()), trained
        asked, actual = (
            [schedule(spent, (0.1, 0.1, 0.1)) for spent in PROBES]
            for schedule in (self._schedule, self.training.schedule)
        )
        name, spelled = self.config.scheduler["name"], self._spelled["scheduler"]
        yield f"scheduler {name}", asked, actual
        yield from settings_findings(f"scheduler {name}", spelled, self._schedule, self.training.schedule)

    def _layer_factors(self) -> tuple[list[float], list[float]]:
        """Return the factor of each of the encoder's weights, as the config asks for and as its group has it."""
        names = [name for name, _ in self._asked_network.encoder.named_parameters()]
        groups = self.training.optimizer.param_groups
        factors = {id(parameter): group["layer_factor"] for group in groups for parameter in group["params"]}
        live = [factors[id(parameter)] for parameter in self.training.model.network.encoder.parameters()]
        return list(layer_factors(names, self.config.layer_decay).values()), live

    def _steps(self, epoch: int) -> Iterator[Finding]:
        training, stepper = self.training, self.training.stepper
        name = self.config.loss["name"]
        yield f"loss {name} on a probe", self._probe(self._asked_loss), self._probe(training.loss)
        yield from settings_findings(f"loss {name}", self._spelled["loss"], self._asked_loss, training.loss)
        yield "loss that is stepped on", True, stepper.loss is training.loss
        yield "clip_norm", self.config.clip_norm, stepper.clip_norm
        yield from self._average()
        yield "precision", str(DTYPES[self.config.precision]), str(stepper.dtype)
        kernel = next(
            parameter for parameter in training.model.parameters() if parameter.ndim == 4 and min(parameter.shape) > 1
        )
        layout = FORMATS[self.config.memory_format]
        laid_out = kernel.is_contiguous(memory_format=layout) and training.model.memory_format == layout
        yield "memory_format", self.config.memory_format, self.config.memory_format if laid_out else "another"
        yield "compile", self.config.compile, stepper.compiles
        yield "device", self.config.device, training.device.type
        frozen = not any(parameter.requires_grad for parameter in training.model.network.encoder.parameters())
        yield "encoder frozen", stepper.steps > 0 and epoch <= self.config.freeze_epochs, frozen
        yield "seed", [self.config.seed] * 2, [training.photos.seed, training.sampler.seed]
        yield "workers", self.config.workers, training.loader.num_workers
        yield "batch_size", self.config.batch_size, getattr(training.loader.batch_sampler, "batch_size", None)
        yield "photos", list(self.config.frame), list(training.data.cache.frame)
        yield "tile_size", self.config.tile_size, training.photos.tile

    def _average(self) -> Iterator[Finding]:
        """Compare which weights are validated and kept, and how they are averaged."""
        decay, stepper = self.config.ema_decay, self.training.stepper
        yield "ema_decay", decay, stepper.ema.decay if stepper.ema else 0.0
        if stepper.ema and decay and stepper.steps:
            share = 1 / sum(decay**steps for steps in range(stepper.steps))
            yield "share of the last step in the moving average", share, stepper.ema.share(stepper.steps)
        slow = self.config.optimizer["name"].startswith("lookahead_")
        asked = "moving average" if decay else "slow" if slow else "own"
        yield "weights that are validated", asked, self._validated_weights()

    def _validated_weights(self) -> str:
        stepper, live = self.training.stepper, self.training.optimizer
        if stepper.ema and stepper.evaluated is stepper.ema.module:
            return "moving average"
        pointers = {parameter.data_ptr() for parameter in stepper.evaluated.parameters()}
        if isinstance(live, Lookahead) and pointers == {slow.data_ptr() for _, slow in live.pairs()}:
            return "slow"
        return (
            "own" if pointers == {parameter.data_ptr() for parameter in self.training.model.parameters()} else "others"
        )

    def _data(self) -> Iterator[Finding]:
        photos = self.training.photos
        for index, (asked, actual) in enumerate(zip(self._asked_steps, _steps(photos.augmentation), strict=False)):
            yield f"augmentation step {index + 1}", asked, actual
        yield "augmentation steps", len(self._asked_steps), len(_steps(photos.augmentation))
        yield "mixing", [repr(mix) for mix in build_mixing(self.config.mixing)], [repr(mix) for mix in photos.mixing]
        draws, live = self._asked_draws, self.training.sampler.draws
        yield "oversampling ratio", draws.ratio, live.ratio
        yield "sampler weights", _digest(draws.weights), _digest(live.weights)
        yield "training photos", _digest(self.training.data.train), _digest(live.positions)
        yield "patches to paste", _patches(draws), _patches(live)
        train = self.training.data.train
        yield "photos to mix in", _digest(train), _digest(photos.others.positions)
        positions = {patch.position for patch in (*live.patches, *photos.others.patches)}
        yield "patches of photos that do not train", 0, len(positions - set(train.tolist()))

    def _model(self) -> Iterator[Finding]:
        network = self.training.model.network
        yield "architecture", type(self._asked_network).__name__, type(network).__name__
        asked, actual = (
            {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
            for model in (self._asked_network, network)
        )
        differing = sorted(name for name in asked.keys() | actual.keys() if asked.get(name) != actual.get(name))
        yield f"shapes of {self.config.encoder} and its decoder", [], differing[:3]
        lines = zip(str(self._asked_network).splitlines(), str(network).splitlines(), strict=False)
        changed = [
            (asked_line.strip(), live_line.strip()) for asked_line, live_line in lines if asked_line != live_line
        ]
        yield "layers", [line for line, _ in changed[:2]], [line for _, line in changed[:2]]

    def _encoder_weights(self) -> Iterator[Finding]:
        weights = loaded_encoder(self.config)
        if weights:
            state = self.training.model.network.encoder.state_dict()
            # Positions are resampled where the image size is another one.
            name = next(name for name, own in state.items() if own.ndim > 1 and own.shape == weights[name].shape)
            yield f"encoder weights {name}", float(weights[name].double().sum()), float(state[name].double().sum())

    @cached_property
    def _schedule(self) -> Schedule:
        return build_schedule(self.config.scheduler, self.config.epochs)

    @cached_property
    def _asked_network(self) -> Any:
        return self.training.replica.synchronise(build_empty(self.config), self.training.config.device)

    @cached_property
    def _asked_draws(self) -> Any:
        return build_draws(self.config.oversampling, self.training.data.cache, self.training.data.train)

    @cached_property
    def _asked_steps(self) -> list[str]:
        config, classes = self.config, self.training.data.cache.classes
        return _steps(build_augmentation(config.augmentation, config.operations, config.input_shape, classes))

    @cached_property
    def _spelled(self) -> dict[str, Any]:
        return spelled_out(self.config.to_dict())

    @cached_property
    def _asked_loss(self) -> Loss:
        return build_loss(self.config.loss, class_counts(self.training.data))

    def _probe(self, loss: Loss) -> float:
        """Return the loss of made-up logits, the same each time, on patches of classes with some unlabelled pixels."""
        generator = torch.Generator().manual_seed(0)
        target = torch.randint(0, self.config.num_classes, (2, 2, 2), generator=generator)
        target = target.repeat_interleave(12, 1).repeat_interleave(12, 2)
        logits = 3 * torch.randn(2, self.config.num_classes, 24, 24, generator=generator)
        logits.scatter_add_(1, target[:, None], torch.full((2, 1, 24, 24), 4.0))  # right more often than not
        target[:, 3:6, 4:9] = IGNORE_INDEX
        return float(loss(logits, target))


def _steps(augmentation: A.Compose) -> list[str]:
    return [str(A.to_dict(step)["transform"]) for step in augmentation.transforms]


def _patches(draws: Draws) -> str:
    return _digest([patch.area * (patch.position + 1) for patch in draws.patches])


def _digest(array: Any) -> str:
    """Return a short text that tells arrays apart."""
    if array is None:
        return "none"
    values = np.asarray(array, np.float64)
    return f"{len(values)} with sum {values.sum():.6g} and moment {(values * np.arange(len(values))).sum():.6g}"


def _same(asked: Any, actual: Any) -> bool:
    if isinstance(asked, list | tuple) and isinstance(actual, list | tuple):
        return len(asked) == len(actual) and all(map(_same, asked, actual))
    numbers = all(isinstance(value, int | float) for value in (asked, actual))
    return bool(np.isclose(asked, actual, rtol=1e-5, atol=0, equal_nan=True) if numbers else asked == actual)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{', '.join(map(_show, value))}]" if isinstance(value, list | tuple) else str(value)
