"""Takes optimizer steps: precision, micro-batches, memory that runs short, clipping and the moving average."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainable.averaging import MovingAverage, at_slow_weights
from trainable.config import TrialConfig
from trainable.device import peak_memory_mb
from trainable.lookahead import Lookahead
from trainable.losses import Loss
from trainable.models import Segmenter

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MEMORY_SHORT = ("not enough memory", "can't allocate memory", "out of memory", "alloc_failed")
"""What PyTorch, cuDNN and cuBLAS say, in lower case."""


LONE_PHOTO = "more than 1 value per channel"
"""What PyTorch says of a batch norm after global pooling, as in DeepLabV3+, that is given one photo."""


class OutOfMemoryError(RuntimeError):
    """One photo at a time does not fit into the device's memory."""


class Stepper:
    """A model with its loss and optimizer, and the state of what happens between them."""

    def __init__(self, config: TrialConfig, model: Segmenter, loss: Loss, optimizer: Optimizer):
        self.config, self.model, self.loss, self.optimizer = config, model, loss, optimizer
        self.device = torch.device(config.device)
        self.dtype = DTYPES[config.precision]
        self.scaler = torch.amp.GradScaler(config.device, enabled=config.precision == "fp16")
        self.slow = at_slow_weights(model, optimizer) if isinstance(optimizer, Lookahead) else None
        self.ema = MovingAverage(self.slow or model, config.ema_decay) if config.ema_decay else None
        self.clip_norm = config.clip_norm
        self.accumulation = config.accumulation
        self.steps = 0
        self._too_few = 0  # parts for which memory was short
        self.notes: list[str] = []
        self._compiled: Any = _compiled(model) if config.compile else None

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
        encoder.requires_grad_(not frozen)
        if frozen:
            encoder.eval()  # its batch-norm statistics stay too

    def step(self, photos: Tensor, masks: Tensor) -> Tensor:
        """Take one step on photos (N, H, W, 3) and masks (N, H, W); returns the mean loss.

        Raises:
            OutOfMemoryError: one photo at a time does not fit.
        """
        loss = self._gradients(photos, masks)
        while loss is None:
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

    def split_further(self, error: Exception, batch: int) -> None:
        """Halve the micro-batch after an error that tells of short memory, or raise it.

        Raises:
            OutOfMemoryError: the micro-batch is one photo already.
        """
        if not is_memory_short(error):
            raise error
        self.optimizer.zero_grad()
        if self.accumulation >= batch:
            peak, line = peak_memory_mb(self.config.device), str(error).splitlines()[0]
            raise OutOfMemoryError(
                f"one photo of {self.config.image_size} px at a time does not fit: peak {peak:,.0f} MB, then {line}"
            ) from error
        self._too_few = self.accumulation
        self._split(min(2 * self.accumulation, batch), batch)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what a resume needs beside model and optimizer: tensors and json-able values."""
        average = self.ema.module.state_dict() if self.ema else {}
        header = {"scaler": self.scaler.state_dict(), "steps": self.steps, "accumulation": self.accumulation}
        return {f"ema.{name}": tensor for name, tensor in average.items()}, {**header, "notes": self.notes}

    def load_state(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        if self.ema:
            average = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
            self.ema.module.load_state_dict(average)
        if header["scaler"]:
            self.scaler.load_state_dict(header["scaler"])
        self.steps, self.accumulation, self.notes = header["steps"], header["accumulation"], header["notes"]

    def _gradients(self, photos: Tensor, masks: Tensor) -> Tensor | None:
        """Return the loss with its gradients in place, or None if something was changed to try again."""
        try:
            return self._backward(photos, masks)
        except Exception as error:
            if LONE_PHOTO in str(error):
                self._split_in_pairs(error, len(photos))
            elif is_memory_short(error) or self._compiled is None:
                self.split_further(error, len(photos))
            else:
                self._compiled = None
                why = str(error).strip().splitlines() or [""]
                self.notes.append(f"torch.compile failed ({type(error).__name__}: {why[0]}): training without it")
        # Only here has the error's traceback let go of the tensors of the failed try.
        if self.config.device == "cuda":
            torch.cuda.empty_cache()
        return None

    def _split_in_pairs(self, error: Exception, batch: int) -> None:
        """Split a batch into as many parts as leave no photo alone, after short memory has split it further."""
        parts, architecture = batch // 2, self.config.architecture
        if not self._too_few:
            raise ValueError(f"{architecture} cannot train on one photo at a time: it normalises over them") from error
        if parts <= self._too_few:
            raise OutOfMemoryError(
                f"2 photos of {self.config.image_size} px at a time do not fit (peak "
                f"{peak_memory_mb(self.config.device):,.0f} MB), and {architecture} cannot train on one: it normalises "
                "over them"
            ) from error
        self._split(parts, batch)

    def _split(self, parts: int, batch: int) -> None:
        self.accumulation = parts
        self.notes.append(f"memory ran short: batches of {batch} in {parts} parts")

    def _backward(self, photos: Tensor, masks: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        model = self.model if self._compiled is None else self._compiled
        count = min(self.accumulation, len(photos))
        for part, truth in zip(photos.tensor_split(count), masks.tensor_split(count), strict=True):
            loss = self.loss_of(self.logits(model, part), truth) * (len(part) / len(photos))
            self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.config.device, self.dtype, enabled=self.dtype != torch.float32)


def _compiled(model: Segmenter) -> Any:
    """Compile a model as if it were the process's first: past a few, PyTorch would silently go on without."""
    torch._dynamo.reset()
    return torch.compile(model)


def is_memory_short(error: Exception) -> bool:
    """Tell whether memory could not be allocated, on a GPU or not, by PyTorch or by others."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in MEMORY_SHORT)
