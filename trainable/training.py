"""The live objects of one training of one fold, and what an epoch does with them."""

import math
import time
from collections.abc import Sequence

import torch

from trainable.artifacts import TrialFolder
from trainable.augment import build_augmentation
from trainable.checkpoint import load_optimizer, load_tensors, optimizer_state, save_tensors
from trainable.coco import CLASSES
from trainable.config import NO_FOLD, TrialConfig
from trainable.data import FoldData
from trainable.device import peak_memory_mb, reset_peak_memory
from trainable.loader import TrainingPhotos, on_device, training_batches
from trainable.losses import build_loss
from trainable.metrics import class_iou, mean_iou
from trainable.mixing import build_mixing
from trainable.models import build_model
from trainable.optim import build_optimizer
from trainable.sampling import build_draws
from trainable.schedules import build_schedule
from trainable.seeding import stream_seed
from trainable.speed import settle
from trainable.stepping import Stepper
from trainable.validation import Validated, validate

Row = dict[str, float]
"""One epoch's figures, see `FoldTraining.epoch`."""


class DivergedError(FloatingPointError):
    """The loss is not a finite number."""


class FoldTraining:
    """The live objects of one training."""

    def __init__(self, config: TrialConfig, data: FoldData):
        if data.cache.images.shape[1] != config.image_size:
            raise ValueError(f"image_size is {config.image_size}, the cache is at {data.cache.images.shape[1]} px")
        if not len(data.train) or (not len(data.val) and config.fold != NO_FOLD):
            raise ValueError(f"fold {config.fold} has {len(data.train)} training and {len(data.val)} validation photos")
        torch.set_num_threads(config.threads)
        self.config = config = settle(config, data.cache.path.parent)
        torch.manual_seed(stream_seed(config.seed, "init"))
        reset_peak_memory(config.device)
        self.data = data
        self.device = torch.device(config.device)
        self.model = build_model(config).to(self.device)
        self.loss = build_loss(config.loss, data.counts())
        self.optimizer = build_optimizer(config.optimizer, self.model, config.encoder_lr_factor)
        self.peak_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = build_schedule(config.scheduler, config.epochs)
        self.stepper = Stepper(config, self.model, self.loss, self.optimizer)
        augmentation = build_augmentation(config.augmentation, config.operations, config.image_size)
        draws = build_draws(config.oversampling, data.cache, data.train)
        self.photos = TrainingPhotos(data.cache, draws, build_mixing(config.mixing), augmentation, config.seed)
        self.loader, self.sampler = training_batches(
            self.photos, batch_size=config.batch_size, workers=config.workers, pin=config.device == "cuda"
        )

    def epoch(self, epoch: int, val_mious: Sequence[float]) -> tuple[Row, Validated | None]:
        """Train and validate one epoch, counted from 1, after epochs with `val_mious`.

        Returns:
            The row: losses, `val_miou` (as the competition scores: 256 x 256), `val_miou_full` (at the training size),
            `iou_CLASS` (at 256 x 256, NaN for a class in neither truth nor prediction), `lr` at the epoch's end,
            `images_per_s` in training, seconds (`data_s`: waited for photos), peak memory in MB and the parts a batch
            was split into. And what the validation found: None, and nothing of it in the row, if no photo validates.
        """
        start = time.perf_counter()
        train_loss, seen, waited = self._train(epoch, val_mious)
        trained = time.perf_counter()
        validated = self._validate() if len(self.data.val) else None
        end = time.perf_counter()
        row = {
            "epoch": epoch, "train_loss": train_loss, **(_figures(validated) if validated else {}),
            "lr": self.optimizer.param_groups[0]["lr"], "images_per_s": seen / (trained - start),
            "train_s": trained - start, "data_s": waited, "val_s": end - trained,
            "peak_memory_mb": peak_memory_mb(self.config.device), "accumulation": self.stepper.accumulation,
        }  # fmt: skip
        return row, validated

    def save(self, folder: TrialFolder, rows: list[Row]) -> None:
        """Write the curve and all that `restore` needs."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        moments, optimizer = optimizer_state(self.optimizer)
        more, stepper = self.stepper.state()
        save_tensors(
            folder.last_state, {**tensors, **moments, **more}, rows=rows, optimizer=optimizer, stepper=stepper
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
        load_optimizer(self.optimizer, tensors, header["optimizer"])
        self.stepper.load_state(tensors, header["stepper"])
        rows: list[Row] = header["rows"]
        folder.write_curve(rows)
        return rows

    def lr_factor(self, epoch: int, share: float, val_mious: Sequence[float]) -> float:
        """Return the schedule's factor after a share of an epoch, counted from 1."""
        return self.schedule((epoch - 1 + share) / self.config.epochs, val_mious)

    def _train(self, epoch: int, val_mious: Sequence[float]) -> tuple[float, int, float]:
        torch.manual_seed(stream_seed(self.config.seed, "torch", epoch))
        self.sampler.epoch = epoch
        self.stepper.freeze_encoder(epoch <= self.config.freeze_epochs)
        steps = len(self.loader)
        total, seen, waited = torch.zeros((), device=self.device), 0, 0.0
        asked = time.perf_counter()
        for step, (photos, masks) in enumerate(on_device(self.loader, self.device)):
            waited += time.perf_counter() - asked
            factor = self.lr_factor(epoch, step / steps, val_mious)
            for group, peak in zip(self.optimizer.param_groups, self.peak_lr, strict=True):
                group["lr"] = peak * factor
            total += self.stepper.step(photos, masks) * len(photos)
            seen += len(photos)
            asked = time.perf_counter()
        return self._finite(float(total) / seen, f"train loss in epoch {epoch}"), seen, waited

    def _validate(self) -> Validated:
        while True:
            batch = math.ceil(self.config.batch_size / self.stepper.accumulation)
            try:
                validated = validate(self.stepper, self.data, batch)
                break
            except RuntimeError as error:
                self.stepper.split_further(error, self.config.batch_size)
        self._finite(validated.loss, "validation loss")
        return validated

    def _finite(self, loss: float, name: str) -> float:
        if not math.isfinite(loss):
            lr = self.config.optimizer.get("lr", "default")
            raise DivergedError(f"{name} is {loss} (lr {lr}, {self.config.precision}): the training diverged")
        return loss


def _figures(validated: Validated) -> Row:
    at_256, full = (torch.from_numpy(matrices.sum(0)) for matrices in (validated.at_256, validated.full))
    return {
        "val_loss": validated.loss, "val_miou": mean_iou(at_256), "val_miou_full": mean_iou(full),
        **{f"iou_{name}": float(iou) for name, iou in zip(CLASSES, class_iou(at_256), strict=True)},
    }  # fmt: skip
