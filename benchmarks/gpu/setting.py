"""What the sections share: sizes, configs, photos, how a step is timed, and how figures are kept."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.precision_autotune import settle
from trainable.engine.train_step import Stepper
from trainable.machine.cores import cpu_count
from trainable.model.losses import ClassCounts, build_loss
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model

GPU = torch.cuda.is_available()

Model = tuple[str, str]
"""An architecture and an encoder."""
Batch = tuple[Tensor, Tensor]
Step = Callable[[], object]

MODELS: tuple[Model, ...] = (
    ("unetplusplus", "efficientnet-b0"),
    ("unetplusplus", "efficientnet-b5"),
    ("deeplabv3plus", "resnet50"),
    ("unetplusplus", "mobilenet_v2"),
)
FOLD = 2618, 654
"""Photos that train and that validate: a fold of the competition's 3,272."""


@dataclass(frozen=True)
class Setting:
    """Where a section finds and leaves what it needs, and how large it is."""

    data: Path  # annotated photos
    encoder_weights: Path | None
    results: Path  # file of figures, a line of json each
    cache_dir: Path  # decoded photos, and what was measured of models
    work: Path  # anything else; removed in the end
    tiny: bool  # tries the script: its figures mean nothing

    @property
    def size(self) -> int:
        """Pixels per side."""
        return 64 if self.tiny else 512

    @property
    def batch_size(self) -> int:
        """Photos of a step."""
        return 2 if self.tiny else 8

    @property
    def fold(self) -> tuple[int, int]:
        """Photos that train and that validate, where whole epochs are measured."""
        return (12, 4) if self.tiny else FOLD

    @property
    def few(self) -> tuple[int, int]:
        """Photos that train and that validate, where curves are compared."""
        return (12, 4) if self.tiny else (80, 20)

    @property
    def models(self) -> tuple[Model, ...]:
        """The networks, the one that most is measured of first."""
        return MODELS[-1:] if self.tiny else MODELS

    @property
    def weights(self) -> str:
        """The encoder weights as a config names them."""
        return "none" if self.encoder_weights is None else str(self.encoder_weights)

    def batch(self) -> Batch:
        """Photos (N, S, S, 3) and masks (N, S, S), both uint8, where a loader would leave them."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch_size, self.size, self.size)
        photos = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=generator)
        masks = torch.randint(0, len(COMPETITION), shape, dtype=torch.uint8, generator=generator)
        return (photos.pin_memory(), masks.pin_memory()) if GPU else (photos, masks)

    def config(self, model: Model | None = None, **more: Any) -> TrialConfig:
        """Return a config of a model, by default the first, with random weights."""
        architecture, encoder = model or self.models[0]
        workers = 0 if self.tiny else min(7, cpu_count() - 1)
        common = {"image_size": self.size, "batch_size": self.batch_size, "epochs": 3, "workers": workers}
        return TrialConfig(**{**common, "architecture": architecture, "encoder": encoder, **more})

    def fold_data(self, size: int, train: int, val: int) -> FoldData:
        """Return a fold of so many photos at `size` pixels: those there are, repeated or cut off."""
        cache, _ = build_cache(read_training(self.data), size, self.cache_dir)
        data = FoldData.of(cache, make_folds(cache, 5, 0), 0)
        return replace(data, train=np.resize(data.train, train), val=np.resize(data.val, val))

    def settle(self, config: TrialConfig) -> TrialConfig:
        """Return the config with what trains it fastest, measured now or before."""
        return settle(config, self.cache_dir)

    def keep(self, section: str, **figures: Any) -> None:
        """Keep figures at once, as what comes after may hang: five digits of each, however small."""
        rounded = {name: float(f"{each:.5g}") if isinstance(each, float) else each for name, each in figures.items()}
        line = json.dumps({"section": section, "device": torch.cuda.get_device_name() if GPU else "cpu", **rounded})
        with self.results.open("a") as file:
            file.write(f"{line}\n")
        print(line, flush=True)


def half() -> str:
    """Return 16 bits as the device has them: V100 (7.0) has no bf16 units."""
    return "fp16" if GPU and torch.cuda.get_device_capability() < (8, 0) else "bf16"


def our_stepper(config: TrialConfig, loss: str = "cross_entropy", optimizer: str = "adamw") -> Stepper:
    """Return what takes the steps of a training, of a config as `settle` gives it."""
    counts = ClassCounts(torch.ones(len(COMPETITION)), torch.ones(len(COMPETITION)))
    model = build_model(config).to(config.device)
    stepper = Stepper(config, model, build_loss({"name": loss}, counts), build_optimizer({"name": optimizer}, model))
    stepper.freeze_encoder(False)
    return stepper


def our_step(config: TrialConfig, batch: Batch, loss: str = "cross_entropy", optimizer: str = "adamw") -> Step:
    """Return a training step of ours, the way of its batch to the GPU included."""
    stepper = our_stepper(config, loss, optimizer)
    return lambda: stepper.step(*(tensor.to(stepper.device, non_blocking=True) for tensor in batch))


def synchronise() -> None:
    """Wait until the GPU has done all it was asked for."""
    if GPU:
        torch.cuda.synchronize()


def timed(step: Step, steps: int, warm: int) -> tuple[float, float]:
    """Return milliseconds of a step with its work done, and those until the CPU has handed it over."""
    for _ in range(warm):
        step()
    synchronise()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    handed = time.perf_counter() - start
    synchronise()
    return 1000 * (time.perf_counter() - start) / steps, 1000 * handed / steps
