"""Proves that a trial trains what its config says, by reading the live objects back.

What the config asks for is worked out from the config alone, apart from the code that set the training up: a setter
that was skipped, overridden or handed another value shows. Weights that were downloaded are not compared.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import albumentations as A
import numpy as np
import torch
from torch import nn

from trainable.augment import build_augmentation
from trainable.config import TrialConfig
from trainable.losses import build_loss
from trainable.mixing import build_mixing
from trainable.models import FORMATS, build_empty, loaded_encoder
from trainable.optim import OPTIMIZERS, build_optimizer
from trainable.sampling import build_draws
from trainable.schedules import Schedule, build_schedule
from trainable.stepping import DTYPES
from trainable.training import FoldTraining

ALIASES = {"alpha": "lookahead_alpha", "every": "lookahead_k", "decoupled": "decoupled_weight_decay"}
"""Names of an optimizer's parameters in its groups, where they are others than in the config."""

PROBES = (0.0, 0.1, 0.37, 0.5, 0.73, 0.98)
"""Shares of the budget at which schedules are compared."""

Finding = tuple[str, Any, Any]
"""What was compared, what the config asks for and what was found."""


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
        if share is None:
            findings += self._encoder_weights()
        wrong = [f"{name} (asked {_show(asked)}, found {_show(found)})" for name, asked, found in findings
                 if not _same(asked, found)]  # fmt: skip
        if wrong:
            raise ConfigNotAppliedError(f"config not applied: {', '.join(wrong)}")
        return {name: _show(found) for name, _, found in findings}

    def _optimizer(self, factor: float) -> Iterator[Finding]:
        choice, live = self.config.optimizer, self.training.optimizer
        signature = inspect.signature(OPTIMIZERS[choice["name"]]).parameters
        asked = {name: each.default for name, each in signature.items() if name != "groups"}
        asked |= {name: value for name, value in choice.items() if name != "name"}
        toy = build_optimizer(choice, nn.ModuleDict({"encoder": nn.Conv2d(1, 1, 1)}))
        yield "optimizer", _kind(toy), _kind(live)
        for group in live.param_groups:
            encoder = group["part"] == "encoder"
            name = "encoder " if encoder else ""
            if not group["decayed"]:
                name += "norm and bias "
            yield f"{name}lr", asked["lr"] * (self.config.encoder_lr_factor if encoder else 1) * factor, group["lr"]
            yield f"{name}weight decay", asked["weight_decay"] if group["decayed"] else 0.0, group["weight_decay"]
            for key in sorted(set(asked) - {"lr", "weight_decay"}):
                yield f"{name}{key}", asked[key], group[ALIASES.get(key, key)]
        trained = sum(parameter.numel() for group in live.param_groups for parameter in group["params"])
        yield "trained parameters", sum(each.numel() for each in self.training.model.parameters()), trained
        wanted, found = ([each(spent, (0.1, 0.1, 0.1)) for spent in PROBES]
                         for each in (self._schedule, self.training.schedule))  # fmt: skip
        yield f"scheduler {self.config.scheduler['name']}", wanted, found

    def _steps(self, epoch: int) -> Iterator[Finding]:
        training, stepper = self.training, self.training.stepper
        yield f"loss {self.config.loss['name']} on a probe", self._asked_loss, self._probe(training.loss)
        yield "clip_norm", self.config.clip_norm, stepper.clip_norm
        yield "ema_decay", self.config.ema_decay, stepper.ema.decay if stepper.ema else 0.0
        yield "precision", str(DTYPES[self.config.precision]), str(stepper.dtype)
        kernel = next(each for each in training.model.parameters() if each.ndim == 4 and min(each.shape) > 1)
        wanted = FORMATS[self.config.memory_format]
        laid_out = kernel.is_contiguous(memory_format=wanted) and training.model.memory_format == wanted
        yield "memory_format", self.config.memory_format, self.config.memory_format if laid_out else "another"
        yield "compile", self.config.compile, stepper.compiles
        yield "device", self.config.device, training.device.type
        frozen = not any(each.requires_grad for each in training.model.network.encoder.parameters())
        yield "encoder frozen", stepper.steps > 0 and epoch <= self.config.freeze_epochs, frozen
        yield "batch_size", self.config.batch_size, training.loader.batch_size
        yield "image_size", self.config.image_size, training.data.cache.images.shape[1]

    def _data(self) -> Iterator[Finding]:
        photos = self.training.photos
        for index, (asked, found) in enumerate(zip(self._asked_steps, _steps(photos.augmentation), strict=False)):
            yield f"augmentation step {index + 1}", asked, found
        yield "augmentation steps", len(self._asked_steps), len(_steps(photos.augmentation))
        yield "mixing", [repr(mix) for mix in build_mixing(self.config.mixing)], [repr(mix) for mix in photos.mixing]
        draws, live = self._asked_draws, self.training.sampler.draws
        yield "oversampling ratio", draws.ratio, live.ratio
        yield "sampler weights", _digest(draws.weights), _digest(live.weights)
        yield "training photos", _digest(self.training.data.train), _digest(live.positions)
        yield "patches to paste", len(draws.patches), len(live.patches)
        train = self.training.data.train
        yield "photos to mix in", _digest(train), _digest(photos.others.positions)
        positions = {patch.position for patch in (*live.patches, *photos.others.patches)}
        yield "patches of photos that do not train", 0, len(positions - set(train.tolist()))

    def _model(self) -> Iterator[Finding]:
        network = self.training.model.network
        yield "architecture", type(self._asked_network).__name__, type(network).__name__
        asked, found = ({name: tuple(each.shape) for name, each in model.state_dict().items()}
                        for model in (self._asked_network, network))  # fmt: skip
        differing = sorted(name for name in asked.keys() | found.keys() if asked.get(name) != found.get(name))
        yield f"shapes of {self.config.encoder} and its decoder", [], differing[:3]
        lines = zip(str(self._asked_network).splitlines(), str(network).splitlines(), strict=False)
        changed = [(wanted.strip(), live.strip()) for wanted, live in lines if wanted != live]
        yield "layers", [each for each, _ in changed[:2]], [each for _, each in changed[:2]]

    def _encoder_weights(self) -> Iterator[Finding]:
        weights = loaded_encoder(self.config)
        if weights:
            found = self.training.model.network.encoder.state_dict()
            name = next(name for name, each in found.items() if each.ndim > 1)
            yield f"encoder weights {name}", float(weights[name].double().sum()), float(found[name].double().sum())

    @cached_property
    def _schedule(self) -> Schedule:
        return build_schedule(self.config.scheduler, self.config.epochs)

    @cached_property
    def _asked_network(self) -> Any:
        return build_empty(self.config)

    @cached_property
    def _asked_draws(self) -> Any:
        return build_draws(self.config.oversampling, self.training.data.cache, self.training.data.train)

    @cached_property
    def _asked_steps(self) -> list[str]:
        return _steps(build_augmentation(self.config.augmentation, self.config.operations, self.config.image_size))

    @cached_property
    def _asked_loss(self) -> float:
        return self._probe(build_loss(self.config.loss, self.training.data.counts()))

    def _probe(self, loss: Any) -> float:
        """Return the loss of made-up logits, the same each time: two losses that differ somewhere differ here."""
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(2, 11, 8, 8, generator=generator)
        target = torch.randint(0, 11, (2, 8, 8), generator=generator)
        return float(loss(logits, target))


def _kind(optimizer: Any) -> str:
    inner = getattr(optimizer, "_base_optimizer", None)  # of a Lookahead
    return f"{type(optimizer).__name__} of {_kind(inner)}" if inner else type(optimizer).__name__


def _steps(augmentation: A.Compose) -> list[str]:
    return [str(A.to_dict(step)["transform"]) for step in augmentation.transforms]


def _digest(array: Any) -> str:
    """Return a short text that tells arrays apart."""
    if array is None:
        return "none"
    values = np.asarray(array, np.float64)
    return f"{len(values)} with sum {values.sum():.6g} and moment {(values * np.arange(len(values))).sum():.6g}"


def _same(asked: Any, found: Any) -> bool:
    if isinstance(asked, float) or isinstance(found, float):
        return bool(np.isclose(asked, found, rtol=1e-5, atol=1e-12, equal_nan=True))
    if isinstance(asked, list) and len(asked) == len(found):
        return all(_same(a, b) for a, b in zip(asked, found, strict=True))
    return bool(asked == found)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{', '.join(_show(each) for each in value)}]" if isinstance(value, list) else str(value)
