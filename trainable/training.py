"""The live objects of one training of one fold, and what an epoch does with them."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.artifacts import TrialFolder
from trainable.augment import build_augmentation
from trainable.cache import SCORE_SIZE, Cache
from trainable.checkpoint import load_optimizer, load_tensors, optimizer_tensors, save_tensors
from trainable.coco import CLASSES
from trainable.config import TrialConfig
from trainable.device import peak_memory_mb, reset_peak_memory, resolve
from trainable.folds import Folds
from trainable.loader import TrainingPhotos, training_batches
from trainable.losses import ClassCounts, build_loss
from trainable.metrics import class_iou, confusion_matrices, mean_iou, resize_classes
from trainable.models import build_model
from trainable.optim import build_optimizer, build_schedule
from trainable.seeding import stream_seed

Row = dict[str, float]
"""One epoch's figures, see `FoldTraining.epoch`."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class DivergedError(FloatingPointError):
    """The loss is not a finite number."""


@dataclass(frozen=True)
class FoldData:
    """The photos of one fold: positions in the cache."""

    cache: Cache
    train: NDArray[np.int64]
    val: NDArray[np.int64]

    @classmethod
    def of(cls, cache: Cache, folds: Folds, fold: int) -> "FoldData":
        """Split a cache's photos.

        Raises:
            ValueError: no such fold, or photos that the folds do not know.
        """
        return cls(cache, *folds.split(cache.file_names, fold))

    def counts(self) -> ClassCounts:
        """Return how much of each class the training photos hold."""
        pixels = torch.from_numpy(np.asarray(self.cache.class_pixels)[self.train])
        # Photos of any size train at one size, so each counts alike.
        at_training_size = pixels / pixels.sum(1, keepdim=True) * self.cache.masks[0].size
        return ClassCounts(at_training_size.sum(0), (pixels > 0).sum(0))


class FoldTraining:
    """The live objects of one training."""

    def __init__(self, config: TrialConfig, data: FoldData):
        self.config = config = resolve(config)
        if data.cache.images.shape[1] != config.image_size:
            raise ValueError(f"image_size is {config.image_size}, the cache is at {data.cache.images.shape[1]} px")
        if not len(data.train) or not len(data.val):
            raise ValueError(f"fold {config.fold} has {len(data.train)} training and {len(data.val)} validation photos")
        torch.set_num_threads(config.threads)
        torch.manual_seed(stream_seed(config.seed, "init"))
        reset_peak_memory(config.device)
        self.data = data
        self.device = torch.device(config.device)
        self.model = build_model(config).to(self.device).to(memory_format=torch.channels_last)
        self.loss = build_loss(config.loss, data.counts())
        self.optimizer = build_optimizer(config.optimizer, self.model.parameters())
        self.peak_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = build_schedule(config.scheduler)
        self.scaler = torch.amp.GradScaler(config.device, enabled=config.precision == "fp16")
        photos = TrainingPhotos(data.cache, build_augmentation(config.augmentation), config.seed)
        self.loader, self.sampler = training_batches(
            photos, data.train, batch_size=config.batch_size, workers=config.workers, pin=config.device == "cuda"
        )

    def epoch(self, epoch: int) -> tuple[Row, dict[str, NDArray[Any]]]:
        """Train and validate one epoch, counted from 1.

        Returns:
            The row: losses, `val_miou` (as the competition scores: 256 x 256), `val_miou_full` (at the training size),
            `iou_CLASS` (at 256 x 256, NaN for a class in neither truth nor prediction), `lr` at the epoch's end,
            `images_per_s` in training, seconds and peak memory in MB. And the confusion matrices of the validation
            photos, (N, C, C), at both sizes.
        """
        start = time.perf_counter()
        train_loss, seen = self._train(epoch)
        trained = time.perf_counter()
        val_loss, matrices = self._validate()
        end = time.perf_counter()
        totals = {size: matrix.sum(0) for size, matrix in matrices.items()}
        row = {
            "epoch": epoch, "train_loss": train_loss, "val_loss": val_loss,
            "val_miou": mean_iou(totals["at_256"]), "val_miou_full": mean_iou(totals["full"]),
            **{f"iou_{name}": float(iou) for name, iou in zip(CLASSES, class_iou(totals["at_256"]), strict=True)},
            "lr": self.optimizer.param_groups[0]["lr"], "images_per_s": seen / (trained - start),
            "train_s": trained - start, "val_s": end - trained, "peak_memory_mb": peak_memory_mb(self.config.device),
        }  # fmt: skip
        return row, {size: matrix.cpu().numpy() for size, matrix in matrices.items()}

    def save(self, folder: TrialFolder, rows: list[Row]) -> None:
        """Write the curve and all that `restore` needs."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        save_tensors(
            folder.last_state, {**tensors, **optimizer_tensors(self.optimizer)},
            rows=rows, scaler=self.scaler.state_dict(),
        )  # fmt: skip
        folder.write_curve(rows)

    def restore(self, folder: TrialFolder) -> list[Row]:
        """Go back to the folder's last epoch and return the rows up to it.

        Raises:
            ValueError: the state is damaged, or of another model or optimizer.
        """
        tensors, header = load_tensors(folder.last_state)
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(model)
        except RuntimeError as error:
            raise ValueError(f"{folder.last_state} is of another model: {error}") from error
        load_optimizer(self.optimizer, tensors)
        if header["scaler"]:
            self.scaler.load_state_dict(header["scaler"])
        rows: list[Row] = header["rows"]
        folder.write_curve(rows)
        return rows

    def _train(self, epoch: int) -> tuple[float, int]:
        torch.manual_seed(stream_seed(self.config.seed, "torch", epoch))
        self.sampler.epoch = epoch
        self.model.train()
        steps = len(self.loader)
        total, seen = torch.zeros((), device=self.device), 0
        for step, (photos, masks) in enumerate(self.loader):
            factor = self.schedule((epoch - 1 + step / steps) / self.config.epochs)
            for group, peak in zip(self.optimizer.param_groups, self.peak_lr, strict=True):
                group["lr"] = peak * factor
            loss = self._loss(self._forward(photos), masks)
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += loss.detach() * len(photos)
            seen += len(photos)
        return self._finite(float(total) / seen, f"train loss in epoch {epoch}"), seen

    @torch.inference_mode()
    def _validate(self) -> tuple[float, dict[str, Tensor]]:
        self.model.eval()
        cache, total = self.data.cache, 0.0
        matrices: dict[str, list[Tensor]] = {"at_256": [], "full": []}
        for positions in self._validation_batches():
            masks = torch.from_numpy(cache.masks[positions]).to(self.device)
            score_masks = torch.from_numpy(cache.score_masks[positions]).to(self.device)
            logits = self._forward(torch.from_numpy(cache.images[positions]))
            total += float(self._loss(logits, masks)) * len(positions)
            classes = logits.max(1).indices.to(torch.uint8)  # 4 times as fast as argmax on a CPU
            matrices["full"].append(confusion_matrices(masks, classes, len(CLASSES)))
            at_256 = resize_classes(classes, SCORE_SIZE)
            matrices["at_256"].append(confusion_matrices(score_masks, at_256, len(CLASSES)))
        loss = self._finite(total / len(self.data.val), "validation loss")
        return loss, {size: torch.cat(parts) for size, parts in matrices.items()}

    def _validation_batches(self) -> Iterator[NDArray[np.int64]]:
        size = self.config.batch_size
        return (self.data.val[start : start + size] for start in range(0, len(self.data.val), size))

    def _forward(self, photos: Tensor) -> Tensor:
        with self._autocast():
            return self.model(photos.to(self.device, non_blocking=True)).float()

    def _loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        return self.loss(logits, masks.to(self.device, torch.int64, non_blocking=True))

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        precision = self.config.precision
        with torch.autocast(self.config.device, DTYPES[precision], enabled=precision != "fp32"):
            yield

    def _finite(self, loss: float, name: str) -> float:
        if not math.isfinite(loss):
            lr = self.config.optimizer.get("lr", "default")
            raise DivergedError(f"{name} is {loss} (lr {lr}, {self.config.precision}): the training diverged")
        return loss
