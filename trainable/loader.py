"""Batches of training photos, in an order and with augmentations that depend on seed, epoch and worker alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from trainable.cache import Cache
from trainable.seeding import stream_seed

Key = tuple[int, int]
"""(epoch, position in the cache): a photo's key carries the epoch, so that workers that live on know it."""


class TrainingPhotos(Dataset[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Augmented photos and masks of a cache, by key.

    albumentations gives each worker the same random stream and repeats it every epoch unless it is seeded: here the
    first photo of an epoch seeds it.
    """

    def __init__(self, cache: Cache, augmentation: A.Compose, seed: int):
        self.cache, self.augmentation, self.seed = cache, augmentation, seed
        self.epoch = -1

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        epoch, position = key
        if epoch != self.epoch:
            self._start(epoch)
        out = self.augmentation(image=self.cache.images[position], mask=self.cache.masks[position])
        return out["image"], out["mask"]

    def _start(self, epoch: int) -> None:
        info = get_worker_info()
        cv2.setNumThreads(0)
        self.augmentation.set_random_seed(stream_seed(self.seed, "augmentation", epoch, info.id if info else 0))
        self.epoch = epoch


class EpochSampler(Sampler[Key]):
    """A new order of the training photos every epoch; set `epoch` before iterating."""

    def __init__(self, positions: NDArray[np.int64], seed: int):
        self.positions, self.seed = positions, seed
        self.epoch = 0

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng(stream_seed(self.seed, "order", self.epoch))
        return ((self.epoch, int(position)) for position in order.permutation(self.positions))

    def __len__(self) -> int:
        return len(self.positions)


def training_batches(
    photos: TrainingPhotos, positions: NDArray[np.int64], *, batch_size: int, workers: int, pin: bool
) -> tuple[DataLoader[Any], EpochSampler]:
    """Return the loader of uint8 batches (B, H, W, 3) and (B, H, W), and the sampler whose epoch is to be set.

    A last batch that is not full is left out, as its batch-norm statistics are noise, unless it is the only one.
    """
    sampler = EpochSampler(positions, photos.seed)
    loader = DataLoader(
        photos, batch_size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0, pin_memory=pin,
        drop_last=len(positions) >= batch_size, collate_fn=_stack,
    )  # fmt: skip
    return loader, sampler


def _stack(samples: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, masks = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))
