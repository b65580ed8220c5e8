"""Batches of training photos, drawn, mixed and augmented by streams that depend on seed, epoch and worker alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, get_worker_info

from trainable.dataset.cache import Cache
from trainable.pipeline.mixing import Mix, find_others
from trainable.pipeline.object_patches import paste
from trainable.pipeline.oversampling import Draws
from trainable.pipeline.tiles import crops_of, tile_of
from trainable.seeding import stream_seed

Batch = tuple[torch.Tensor, torch.Tensor]
"""Photos (B, H, W, 3) and masks (B, H, W), both uint8."""

Key = tuple[int, int, bool]
"""(epoch, position in the cache, whether a patch is pasted on): a photo's key carries the epoch, so that workers that
live on know it."""


class TrainingPhotos(Dataset[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Mixed and augmented training photos and masks, by key.

    albumentations gives each worker the same random stream and repeats it every epoch unless it is seeded: here the
    first photo of an epoch seeds it.
    """

    def __init__(
        self,
        cache: Cache,
        draws: Draws,
        mixing: list[Mix],
        augmentation: A.Compose,
        seed: int,
        first_worker: int = 0,
        tile: int = 0,
    ):
        self.tile = tile
        self.cache, self.draws, self.mixing, self.augmentation, self.seed = cache, draws, mixing, augmentation, seed
        self.first_worker = first_worker  # where several GPUs have loading processes
        self.others = find_others(cache, draws.positions, mixing, tile)
        self.epoch = -1

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        epoch, position, pasted = key
        if epoch != self.epoch:
            self._start(epoch)
        image, mask = tile_of(self.cache, position, self.tile, self.rng)
        if pasted:
            image, mask = image.copy(), mask.copy()
            patch = self.draws.patch(self.rng)
            paste(image, mask, patch, self.cache, self.rng.uniform(0.8, 1.25), self.rng)
        for mix in self.mixing:
            image, mask = mix(image, mask, self.others, self.rng)
        out = self.augmentation(image=image, mask=mask)
        return out["image"], out["mask"]

    def _start(self, epoch: int) -> None:
        info = get_worker_info()
        worker = self.first_worker + (info.id if info else 0)
        cv2.setNumThreads(0)
        self.augmentation.set_random_seed(stream_seed(self.seed, "augmentation", epoch, worker))
        self.rng = np.random.default_rng(stream_seed(self.seed, "mixing", epoch, worker))
        self.epoch = epoch


class EpochSampler(Sampler[Key]):
    """New draws of the training photos every epoch; set `epoch` before iterating."""

    def __init__(self, draws: Draws, seed: int, crops: int = 1):
        self.draws, self.seed = draws, seed
        self.crops = crops  # of each photo in an epoch, each with draws of its own
        self.epoch = 0

    def __iter__(self) -> Iterator[Key]:
        rng = np.random.default_rng(stream_seed(self.seed, "order", self.epoch))
        return ((self.epoch, *drawn) for _ in range(self.crops) for drawn in self.draws.epoch(rng))

    def __len__(self) -> int:
        return len(self.draws.positions) * self.crops


class Batches(Sampler[list[Key]]):
    """The batches of an epoch; of each, one GPU's part."""

    def __init__(self, sampler: EpochSampler, batch_size: int, rank: int, world_size: int):
        # A last batch that is not full is left out, as its batch-norm statistics are noise, unless it is the only one.
        self.whole = BatchSampler(cast(Any, sampler), batch_size, drop_last=len(sampler) >= batch_size)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.whole:
            keys = cast(list[Key], batch)
            yield keys[: len(keys) - len(keys) % self.world_size][self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(self.whole)


def training_batches(
    photos: TrainingPhotos, *, batch_size: int, workers: int, pin: bool, rank: int = 0, world_size: int = 1
) -> tuple[DataLoader[Any], EpochSampler]:
    """Return the loader of uint8 batches (B, H, W, 3) and (B, H, W), and the sampler whose epoch is to be set.

    Args:
        photos: to load.
        batch_size: photos per step, on all GPUs.
        workers: processes that load.
        pin: whether the batches go to a GPU.
        rank: of the GPU that the batches are for.
        world_size: GPUs that share each batch; their number divides it.
    """
    sampler = EpochSampler(photos.draws, photos.seed, crops_of(photos.cache.frame, photos.tile))
    loader = DataLoader(
        photos,
        batch_sampler=Batches(sampler, batch_size, rank, world_size),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        collate_fn=_stack,
        # Its seed for workers, which ours do without, would be drawn from PyTorch's own stream, in a first epoch alone.
        generator=torch.Generator(),
    )
    return loader, sampler


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on the device; on a GPU the next one is on its way, on a stream of its own, while one is used."""
    if device.type != "cuda":
        yield from batches
        return
    stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
    ahead: Batch | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = [tensor.to(device, non_blocking=True) for tensor in batch]
        if ahead:
            yield ahead
        main.wait_stream(stream)
        for tensor in moved:
            tensor.record_stream(main)
        ahead = (moved[0], moved[1])
    if ahead:
        yield ahead


def _stack(samples: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Batch:
    images, masks = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))
