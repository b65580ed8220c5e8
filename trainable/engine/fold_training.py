"""The live objects of one training of one fold, and what an epoch does with them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainable.config import NO_FOLD, TrialConfig
from trainable.counts import counted
from trainable.dataset.class_counts import class_counts
from trainable.dataset.fold_data import FoldData
from trainable.engine.checkpoint import (
    HostCopies,
    load_optimizer,
    load_tensors,
    optimizer_state,
    save_tensors,
    saved_header,
)
from trainable.engine.halting import Halt, HaltedError
from trainable.engine.precision_autotune import searches_algorithms, settle
from trainable.engine.replicas import ALONE, MemoryLevel, MemoryShortError, Replica
from trainable.engine.train_step import Stepper
from trainable.engine.validation import Validated, validate
from trainable.geometry import shape_text
from trainable.machine.device import (
    algorithms_searched,
    is_memory_short,
    peak_memory_mb,
    random_state,
    release_memory,
    reset_peak_memory,
    set_random_state,
    too_short,
)
from trainable.metric.confusion import class_iou, mean_iou
from trainable.model.losses import build_loss
from trainable.model.optim import build_optimizer
from trainable.model.schedules import build_schedule
from trainable.model.segmenter import build_model
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.loader import TrainingPhotos, on_device, training_batches
from trainable.pipeline.mixing import build_mixing
from trainable.pipeline.oversampling import build_draws
from trainable.run_folder.folders import TrialFolder
from trainable.seeding import stream_seed

Row = dict[str, float]
"""One epoch's figures, see `FoldTraining.epoch`."""


class DivergedError(FloatingPointError):
    """The loss is not a finite number."""


class FoldTraining:
    """The live objects of one training."""

    def __init__(
        self,
        config: TrialConfig,
        data: FoldData,
        halt: Halt = lambda: None,
        replica: Replica = ALONE,
        resume_from: TrialFolder | None = None,
    ):
        """Make the live objects of a training.

        Args:
            config: what to train.
            data: the fold's photos, at the config's image size.
            halt: asked before every step why to stop now; None is to go on.
            replica: which of several GPUs this process trains on.
            resume_from: a folder from which `restore` is to follow: where it has a sound state, the encoder's published
                weights, which that would overwrite, are not loaded.

        Raises:
            ValueError: the config names something unknown, or does not fit the data.
        """
        if data.cache.frame != config.frame:
            asked, cached = shape_text(config.frame), shape_text(data.cache.frame)
            raise ValueError(f"image_size is {asked}, the cache is at {cached} px")
        if len(data.cache.classes) != config.num_classes:
            raise ValueError(f"num_classes is {config.num_classes}, the data has {len(data.cache.classes)} classes")
        if not len(data.train) or (not len(data.val) and config.fold != NO_FOLD):
            raise ValueError(f"fold {config.fold} has {len(data.train)} training and {len(data.val)} validation photos")
        torch.set_num_threads(config.threads)
        self.halt, self.replica = halt, replica
        self.begun: Begun | None = None  # where the restored state was
        self.config = config = settle(config, data.cache.path.parent)
        torch.manual_seed(stream_seed(config.seed, "init"))
        reset_peak_memory(config.device)
        self.data = data
        self.device = torch.device(config.device)
        states = (resume_from.last_state, resume_from.previous_state) if resume_from else ()
        self.is_fresh = not any(map(_is_sound, states))
        network = build_model(config, load_encoder=self.is_fresh)
        self.model = replica.synchronise(network, config.device).to(self.device)
        self.loss = build_loss(config.loss, class_counts(data))
        self.optimizer = build_optimizer(config.optimizer, self.model, config.encoder_lr_factor, config.layer_decay)
        self.peak_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = build_schedule(config.scheduler, config.epochs)
        self.stepper = Stepper(config, self.model, self.loss, self.optimizer, replica)
        self.validation_batch = config.batch_size  # photos at a time; halved while memory is short
        self.copies = HostCopies()
        self.halting_s = 0.0  # spent in `halt` so far, which may tell of the epoch before
        augmentation = build_augmentation(
            config.augmentation, config.operations, config.input_shape, data.cache.classes
        )
        draws = build_draws(config.oversampling, data.cache, data.train)
        # Each GPU's loading processes have streams of their own.
        first = replica.rank * max(config.workers, 1)
        self.photos = TrainingPhotos(
            data.cache, draws, build_mixing(config.mixing), augmentation, config.seed, first, config.tile_size
        )
        self.loader, self.sampler = training_batches(
            self.photos,
            batch_size=config.batch_size,
            workers=config.workers,
            pin=config.device == "cuda",
            rank=replica.rank,
            world_size=replica.world_size,
        )
        self.searches_algorithms = searches_algorithms(config, data.cache.path.parent, steps=len(self.loader))

    def epoch(
        self, epoch: int, val_mious: Sequence[float], folder: TrialFolder | None = None
    ) -> tuple[Row, Validated | None]:
        """Train and validate one epoch, counted from 1, after epochs with `val_mious`.

        Args:
            epoch: goes on in its midst if that is where the restored state was.
            val_mious: of the epochs before it.
            folder: where the state goes if the training is halted in its midst.

        Returns:
            The row: losses, `val_miou` (where the score looks: at 256 x 256 in the competition), `val_miou_full` (at
            the training size), `iou_CLASS` (as `val_miou`, NaN for a class in neither truth nor prediction), `lr` at
            the epoch's end,
            `images_per_s` in training, seconds (`data_s`: waited for photos), peak memory in MB, the parts a batch
            was split into and `recomputed`: 1 with activation checkpointing, else 0. And what the validation found:
            None, and nothing of it in the row, if no photo validates.

        Raises:
            HaltedError: `halt` gave a reason.
            DivergedError: a loss that is not finite.
        """
        start, self.halting_s = time.perf_counter(), 0.0
        # In training alone, whose batches are all of one shape; the last one of a validation is not.
        with algorithms_searched(self.searches_algorithms):
            train_loss, photo_count, waited = self._train(epoch, val_mious, folder)
        trained = time.perf_counter()
        train_s = trained - start - self.halting_s
        validated = self._validate() if len(self.data.val) else None
        end = time.perf_counter()
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            **(_figures(validated, self.data.cache.classes.names) if validated else {}),
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_s": photo_count / train_s,
            "train_s": train_s,
            "data_s": waited,
            "val_s": end - trained,
            "peak_memory_mb": peak_memory_mb(self.config.device),
            "accumulation": self.stepper.accumulation,
            "recomputed": float(bool(self.stepper.recomputed)),
        }
        return row, validated

    def restore(self, folder: TrialFolder) -> list[Row]:
        """Go back to where the folder's training was and return the rows of the epochs before.

        That is the midst of an epoch if it was halted there, else the end of the last one, or, where that state is
        damaged, of the one before; without any sound state the training begins anew.

        Raises:
            ValueError: the state is of another model or optimizer.
        """
        rows: list[Row] = []
        for path in (folder.last_state, folder.previous_state):
            if state := _readable(path):
                rows = state[1]["rows"]
                self._load(path, *state)
                break
        part = _readable(folder.part_state)
        if part and part[1]["begun"]["epoch"] == len(rows) + 1:
            self._load(folder.part_state, *part)
            self.begun = Begun(
                rng=[part[0][name] for name in ("rng.cpu", "rng.cuda") if name in part[0]], **part[1]["begun"]
            )
        if not (self.is_fresh or rows or self.begun):
            raise OSError(f"the state in {folder.path} could be read and no longer can; try the training again")
        if rows and self.replica.is_main:
            folder.write_curve(rows)
        return rows

    def reduce_memory(self, exhausted: MemoryLevel) -> None:
        """Take less memory than what ran short.

        Raises:
            OutOfMemoryError: one photo at a time does not fit.
        """
        while self.stepper.memory_level <= exhausted:
            short = MemoryShortError("memory ran short on one of the GPUs")
            self.stepper.save_memory(short, self.config.batch_size // self.replica.world_size)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that a resume needs: live tensors, and json-able values."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        moments, optimizer = optimizer_state(self.optimizer)
        stepper_tensors, stepper = self.stepper.state()
        header = {"optimizer": optimizer, "stepper": stepper, "validation_batch": self.validation_batch}
        return {**tensors, **moments, **stepper_tensors}, header

    def _load(self, path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(model)
        except RuntimeError as error:
            raise ValueError(f"{path} is of another model: {error}") from error
        load_optimizer(self.optimizer, tensors, header["optimizer"])
        self.stepper.load_state(tensors, header["stepper"])
        self.validation_batch = header.get("validation_batch", self.config.batch_size)  # an earlier version's has none

    def _asked(self) -> str | None:
        """Return why to stop now, or None."""
        before = time.perf_counter()
        reason = self.halt()
        self.halting_s += time.perf_counter() - before
        return reason

    def _halt(self, reason: str, begun: "Begun", folder: TrialFolder) -> None:
        """Write the state in the midst of an epoch.

        Raises:
            HaltedError: always.
        """
        tensors, header = self.state()
        states = zip(("cpu", "cuda"), random_state(self.device), strict=False)
        tensors |= {f"rng.{name}": state for name, state in states}
        facts = {name: getattr(begun, name) for name in ("epoch", "steps", "seen", "total")}
        save_tensors(folder.part_state, tensors, begun=facts, **header)
        raise HaltedError(f"{reason}: saved in epoch {begun.epoch} after {counted(begun.steps, 'step')}")

    def lr_factor(self, epoch: int, share: float, val_mious: Sequence[float]) -> float:
        """Return the schedule's factor after a share of an epoch, counted from 1."""
        return self.schedule((epoch - 1 + share) / self.config.epochs, val_mious)

    def _train(self, epoch: int, val_mious: Sequence[float], folder: TrialFolder | None) -> tuple[float, int, float]:
        of_rank = () if self.replica.is_main else (self.replica.rank,)
        torch.manual_seed(stream_seed(self.config.seed, "torch", epoch, *of_rank))
        self.sampler.epoch = epoch
        self.stepper.freeze_encoder(epoch <= self.config.freeze_epochs)
        steps = len(self.loader)
        begun = self.begun if self.begun and self.begun.epoch == epoch else Begun(epoch)
        self.begun = None
        total, photo_count, waited = torch.full((), begun.total, device=self.device), begun.seen, 0.0
        asked = time.perf_counter()
        for step, (photos, masks) in enumerate(on_device(self.loader, self.device)):
            if step < begun.steps:
                continue  # drawn all the same: the batches after it are then the same ones
            if step == begun.steps and self.replica.is_main:
                set_random_state(begun.rng, self.device)
            if folder and (reason := self._asked()):
                self._halt(reason, Begun(epoch, step, photo_count, float(total)), folder)
            waited += time.perf_counter() - asked
            factor = self.lr_factor(epoch, step / steps, val_mious)
            for group, peak in zip(self.optimizer.param_groups, self.peak_lr, strict=True):
                group["lr"] = peak * factor
            batch = len(photos) * self.replica.world_size
            total += self.stepper.step(photos, masks) * batch
            photo_count += batch
            asked = time.perf_counter()
        loss = self._finite(float(total) / photo_count, f"train loss in epoch {epoch}")
        return loss, photo_count - begun.seen, waited

    def _validate(self) -> Validated:
        while True:
            try:
                validated = validate(self.stepper, self.data, self.validation_batch)
                break
            except (RuntimeError, MemoryError) as error:
                self._validate_fewer(error)
            release_memory()  # only here has the error's traceback let go of the tensors
        self._finite(validated.loss, "validation loss")
        return validated

    def _validate_fewer(self, error: Exception) -> None:
        """Halve the photos that are validated at a time: the figures stay the same, and training stays as it is."""
        if not is_memory_short(error):
            raise error
        if self.validation_batch == 1:
            raise too_short(self.config, "validating one photo", error) from error
        self.validation_batch = math.ceil(self.validation_batch / 2)
        self.stepper.notes.append(
            f"memory ran short: {counted(self.validation_batch, 'photo')} at a time in validation"
        )

    def _finite(self, loss: float, name: str) -> float:
        if not math.isfinite(loss):
            lr = self.config.optimizer.get("lr", "default")
            raise DivergedError(f"{name} is {loss} (lr {lr}, {self.config.precision}): the training diverged")
        return loss


@dataclass(frozen=True)
class Begun:
    """Where in an epoch a training is."""

    epoch: int
    steps: int = 0  # done
    seen: int = 0  # photos
    total: float = 0.0  # loss, summed over them
    rng: Sequence[Tensor] = ()  # PyTorch's random state, on the CPU and on the GPU


def _is_sound(path: Path) -> bool:
    """Tell whether a state can be read, by its header and its length."""
    try:
        return path.exists() and bool(saved_header(path))
    except (ValueError, OSError):
        return False


def _readable(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return a state, or None where there is none or the file is cut off or otherwise damaged."""
    try:
        return load_tensors(path) if path.exists() else None
    except ValueError:
        return None


def _figures(validated: Validated, classes: Sequence[str]) -> Row:
    scored, full = (torch.from_numpy(matrices.sum(0)) for matrices in (validated.scored, validated.full))
    return {
        "val_loss": validated.loss,
        "val_miou": mean_iou(scored),
        "val_miou_full": mean_iou(full),
        **{f"iou_{name}": float(iou) for name, iou in zip(classes, class_iou(scored), strict=True)},
    }
