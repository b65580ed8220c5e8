"""Takes optimizer steps: precision, micro-batches, memory that runs short, clipping and the moving average."""

import math
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.checkpoint import CheckpointError

from trainable.config import TrialConfig
from trainable.counts import counted
from trainable.engine.replicas import ALONE, MemoryLevel, MemoryShortError, Replica
from trainable.geometry import shape_text
from trainable.machine.device import (
    OutOfMemoryError,
    is_memory_short,
    peak_memory_mb,
    random_state,
    release_memory,
    reset_peak_memory,
    set_random_state,
    too_short,
)
from trainable.model.activation_checkpointing import buffers_kept, compute_once, compute_twice, planned
from trainable.model.lookahead import Lookahead
from trainable.model.losses import Loss
from trainable.model.segmenter import Segmenter
from trainable.model.weight_averaging import MovingAverage, at_slow_weights

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MEMORY = "memory ran short: "
"""How the notes of what was done about it begin."""

LONE_PHOTO = "more than 1 value per channel"
"""What PyTorch says of a batch norm after global pooling, as in DeepLabV3+, that is given one photo."""


class Stepper:
    """A model with its loss and optimizer, and the state of what happens between them."""

    def __init__(
        self, config: TrialConfig, model: Segmenter, loss: Loss, optimizer: Optimizer, replica: Replica = ALONE
    ):
        self.config, self.model, self.loss, self.optimizer, self.replica = config, model, loss, optimizer, replica
        self.device = torch.device(config.device)
        self.dtype = DTYPES[config.precision]
        self.scaler = torch.amp.GradScaler(config.device, enabled=config.precision == "fp16")
        self.slow = at_slow_weights(model, optimizer) if isinstance(optimizer, Lookahead) else None
        self.ema = MovingAverage(self.slow or model, config.ema_decay) if config.ema_decay else None
        self.clip_norm = config.clip_norm
        self.accumulation = config.accumulation
        self.steps = 0
        self._frozen = False
        self._too_few = 0  # parts for which memory was short
        self.recomputed: list[str] | None = None  # modules that are computed twice; None: memory has not run short
        self.notes: list[str] = []
        self._compiled: Any = _compiled(model) if config.compile else None
        self._parallel: DistributedDataParallel | None = None  # over several GPUs, for what now has gradients
        buffers = sorted(model.buffers(), key=lambda buffer: str(buffer.dtype))  # alike ones are copied at once
        self._buffers = [list(group) for _, group in groupby(buffers, lambda buffer: buffer.dtype)]
        self._before = [[buffer.clone() for buffer in alike] for alike in self._buffers]

    @property
    def compiles(self) -> bool:
        """Whether it trains through torch.compile, or has said why not."""
        return self._compiled is not None or any("torch.compile" in note for note in self.notes)

    @property
    def evaluated(self) -> Segmenter:
        """The model that is validated and kept."""
        return self.ema.module if self.ema else self.slow or self.model

    def freeze_encoder(self, frozen: bool) -> None:
        """Put the model into training mode, its encoder only where it is not frozen."""
        self.model.train()
        encoder = self.model.network.encoder
        if self.replica.world_size > 1 and (self._parallel is None or self._frozen != frozen):
            self._parallel = None  # before another is made: both would keep buffers of all gradients
        self._frozen = frozen
        encoder.requires_grad_(not frozen)
        if frozen:
            encoder.eval()  # its batch-norm statistics stay too
        if self.replica.world_size > 1 and self._parallel is None:
            self._parallel = self.replica.parallel(self.model if self._compiled is None else self._compiled)

    def step(self, photos: Tensor, masks: Tensor) -> Tensor:
        """Take one step on photos (N, H, W, 3) and masks (N, H, W); returns the mean loss.

        Of several GPUs each is given its part of the batch; the loss is that of the whole.

        Where memory runs short the step is taken again, from the random state and the batch-norm statistics that it
        began with: by activation checkpointing, which gives the same gradient, then in parts.

        Raises:
            OutOfMemoryError: one photo at a time does not fit.
            MemoryShortError: memory ran short on one of several GPUs, which cannot take a step again by itself.
        """
        random = random_state(self.device)
        self._copy(self._buffers, self._before)
        loss = self._gradients(photos, masks)
        while loss is None:
            self._copy(self._before, self._buffers)
            set_random_state(random, self.device)
            loss = self._gradients(photos, masks)
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        if self.ema:
            self.ema.update(self.steps)
        return loss

    def logits(self, model: Any, photos: Tensor) -> Tensor:
        """Return a model's logits (N, C, H, W) in fp32."""
        with self._autocast():
            return model(photos.to(self.device, non_blocking=True)).float()

    def loss_of(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss; the masks may be uint8 and anywhere."""
        return self.loss(logits, masks.to(self.device, torch.int64, non_blocking=True))

    def save_memory(self, error: Exception, batch: int) -> None:
        """Take less memory after an error that tells it is short: by activation checkpointing, then by halving parts.

        Raises:
            OutOfMemoryError: the parts are one photo already.
        """
        self.optimizer.zero_grad()
        if self.recomputed is None and self._recompute():
            return
        if self.accumulation >= batch:
            raise too_short(self.config, "one photo", error) from error
        self._too_few = self.accumulation
        self._split(min(2 * self.accumulation, batch), batch)

    @property
    def memory_level(self) -> MemoryLevel:
        """What has been done so far to take less memory."""
        return self.accumulation, self.recomputed is not None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what a resume needs beside model and optimizer: tensors and json-able values."""
        average = self.ema.module.state_dict() if self.ema else {}
        header = {
            "scaler": self.scaler.state_dict(),
            "steps": self.steps,
            "accumulation": self.accumulation,
            "recomputed": self.recomputed,
        }
        return {f"ema.{name}": tensor for name, tensor in average.items()}, {**header, "notes": self.notes}

    def load_state(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        if self.ema:
            average = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
            self.ema.module.load_state_dict(average)
        if header["scaler"]:
            self.scaler.load_state_dict(header["scaler"])
        self.steps, self.accumulation, self.notes = header["steps"], header["accumulation"], header["notes"]
        self._compute_twice(header.get("recomputed"))  # a state of an earlier version has none

    def _gradients(self, photos: Tensor, masks: Tensor) -> Tensor | None:
        """Return the loss with its gradients in place, or None if something was changed to try again."""
        try:
            return self._backward(photos, masks)
        except Exception as error:
            if LONE_PHOTO in str(error) and self.replica.world_size == 1:
                self._split_in_pairs(error, len(photos))
            elif is_memory_short(error) and self.replica.world_size > 1:
                raise MemoryShortError(str(error)) from error
            elif is_memory_short(error):
                self.save_memory(error, len(photos))
            elif isinstance(error, CheckpointError) and self.recomputed:
                self._refused(error)
            elif self._compiled is not None:
                self._compiled = None
                why = str(error).strip().splitlines() or [""]
                self.notes.append(f"torch.compile failed ({type(error).__name__}: {why[0]}): training without it")
            else:
                raise
        # Only here has the error's traceback let go of the tensors of the failed try.
        release_memory()
        reset_peak_memory(self.config.device)  # what was too much is not what the training takes
        return None

    def _recompute(self) -> bool:
        """Begin activation checkpointing, if it saves memory here."""
        without = "" if self._compiled is None else ", without torch.compile"
        self._compute_twice(planned(self.config))
        if self.recomputed:
            self.notes.append(f"{MEMORY}activation checkpointing{without}, with the same gradient")
        else:
            self.notes.append(f"{MEMORY}activation checkpointing saves none in {self.config.architecture}")
        return bool(self.recomputed)

    def _refused(self, error: Exception) -> None:
        """End activation checkpointing: modules did not do the same a second time."""
        self._compute_twice([])
        why = str(error).strip().splitlines()[0]
        self.notes.append(f"no activation checkpointing: {self.config.architecture} does not allow it ({why})")

    def _compute_twice(self, modules: list[str] | None) -> None:
        compute_once(self.model.network, self.recomputed or [])
        self.recomputed = modules
        if modules:
            self._compiled = None
            compute_twice(self.model.network, modules)

    def _split_in_pairs(self, error: Exception, batch: int) -> None:
        """Split a batch into as many parts as leave no photo alone, after short memory has split it further."""
        parts, architecture = batch // 2, self.config.architecture
        if not self._too_few:
            raise ValueError(f"{architecture} cannot train on one photo at a time: it normalises over them") from error
        if parts <= self._too_few:
            raise OutOfMemoryError(
                f"2 photos of {shape_text(self.config.input_shape)} px at a time do not fit (peak "
                f"{peak_memory_mb(self.config.device):,.0f} MB), and {architecture} cannot train on one: it normalises "
                "over them"
            ) from error
        self._split(parts, batch)

    def _split(self, parts: int, batch: int) -> None:
        self.accumulation = parts
        normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.modules())
        effect = f": batch norm sees {counted(math.ceil(batch / parts), 'photo')} at a time, which changes the gradient"
        self.notes.append(f"{MEMORY}batches of {batch} in {parts} parts{effect if normalises else ''}")

    def _backward(self, photos: Tensor, masks: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        model = self._parallel or (self.model if self._compiled is None else self._compiled)
        count = min(self.accumulation, len(photos))
        if count > 1:
            return self._backward_in_parts(model, photos.tensor_split(count), masks)
        loss = self._whole_loss(self.logits(model, photos), masks)
        self.scaler.scale(loss * self.replica.world_size).backward()
        return loss.detach()

    def _whole_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of the whole batch, whose other parts may be on other GPUs.

        Each GPU has the gradient of its own logits, and these are averaged: so it is of the loss times their number.
        """
        if self.replica.world_size > 1:
            logits, masks = (
                self.replica.all_gather(logits),
                self.replica.all_gather(masks.to(self.device, non_blocking=True)),
            )
        return self.loss_of(logits, masks)

    def _backward_in_parts(self, model: Any, parts: tuple[Tensor, ...], masks: Tensor) -> Tensor:
        """Take the loss of the whole batch's logits, then each part's share of the gradient.

        It is exact for every loss, for those too that are no mean over pixels, such as Lovász: what it costs is a
        forward pass more. Batch norm alone sees the parts. Source: Gao et al. 2021 (GradCache).
        """
        randoms, logits = [], []
        with torch.no_grad(), buffers_kept(self.model):
            for part in parts:
                randoms.append(random_state(self.device))
                logits.append(self.logits(model, part))
        whole = torch.cat(logits).requires_grad_()
        loss = self._whole_loss(whole, masks)
        (slope,) = torch.autograd.grad(self.scaler.scale(loss * self.replica.world_size), whole)
        for index, (part, random, share) in enumerate(
            zip(parts, randoms, slope.tensor_split(len(parts)), strict=True), 1
        ):
            set_random_state(random, self.device)  # dropout draws what it drew
            # Gradients are averaged over GPUs once, with the last part.
            waits = self._parallel is not None and index < len(parts)
            with self._parallel.no_sync() if self._parallel is not None and waits else nullcontext():
                self.logits(model, part).backward(share)
        return loss.detach()

    def _copy(self, sources: list[list[Tensor]], targets: list[list[Tensor]]) -> None:
        with torch.no_grad():
            for source, target in zip(sources, targets, strict=True):
                torch._foreach_copy_(target, source)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.config.device, self.dtype, enabled=self.dtype != torch.float32)


def _compiled(model: Segmenter) -> Any:
    """Compile a model as if it were the process's first: past a few, PyTorch would silently go on without."""
    torch._dynamo.reset()
    return torch.compile(model)
