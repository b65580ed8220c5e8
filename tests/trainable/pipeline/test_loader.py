from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import SIDE
from trainable.classes import IGNORE_INDEX
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.loader import TrainingPhotos, on_device, training_batches
from trainable.pipeline.mixing import build_mixing
from trainable.pipeline.oversampling import Draws, build_draws


def batches(cache, positions, augmentation="reference", *, batch_size=5, workers=0, seed=0, draws=None, mixing=()):
    pipeline = build_augmentation({"name": augmentation}, [], (SIDE, SIDE))
    photos = TrainingPhotos(cache, draws or Draws(positions), build_mixing(list(mixing)), pipeline, seed)
    return training_batches(photos, batch_size=batch_size, workers=workers, pin=False)


def epochs(cache, *, workers, seed=0, count=2, augmentation="reference"):
    """Return the batches of some epochs, each as (images, masks) stacked."""
    loader, sampler = batches(cache, np.arange(20), augmentation, workers=workers, seed=seed)
    out = []
    for epoch in range(1, count + 1):
        sampler.epoch = epoch
        images, masks = zip(*loader, strict=True)
        out.append((torch.cat(images), torch.cat(masks)))
    return out


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_differ_by_epoch_and_seed_and_repeat_by_seed(tiny_cache, workers):
    first, again, other = (epochs(tiny_cache, workers=workers, seed=seed) for seed in (0, 0, 1))
    for (images, masks), (images_again, masks_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(masks, masks_again)
    assert not torch.equal(first[0][0].sort(0).values, first[1][0].sort(0).values)
    assert not torch.equal(first[0][0].sort(0).values, other[0][0].sort(0).values)


def test_workers_have_streams_of_their_own(tiny_cache):
    """Every photo of a cache of one photo: two workers that share a stream would give equal batches."""
    loader, sampler = batches(tiny_cache, np.zeros(20, np.int64), workers=2)
    sampler.epoch = 1
    found = [images for images, _ in loader]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[2], found[3])


def test_epoch_on_its_own_is_the_same_as_after_others(tiny_cache):
    straight = epochs(tiny_cache, workers=0, count=3)[2]
    loader, sampler = batches(tiny_cache, np.arange(20))
    sampler.epoch = 3
    assert torch.equal(torch.cat([images for images, _ in loader]), straight[0])


def test_epoch_holds_each_photo_once_and_masks_stay_with_their_images(tiny_cache):
    images, masks = epochs(tiny_cache, workers=0, count=1, augmentation="none")[0]
    assert images.dtype == masks.dtype == torch.uint8
    stored = {bytes(np.asarray(image)): index for index, image in enumerate(tiny_cache.images)}
    found = [stored[bytes(image.numpy())] for image in images]
    assert sorted(found) == list(range(20))
    assert found != list(range(20))
    for index, mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(mask.numpy(), tiny_cache.masks[index])


def test_reference_pipeline_moves_masks_with_images(tiny_cache):
    """The square is the only bright thing in a photo, so its mask must stay over it."""
    images, masks = epochs(tiny_cache, workers=0, count=1)[0]
    for image, mask in zip(images.float().mean(-1), masks, strict=True):
        inside = (mask > 0) & (mask != IGNORE_INDEX)
        if inside.sum() > 30 and (mask == 0).any():
            assert image[inside].mean() > image[mask == 0].mean()
    assert set(masks.unique().tolist()) <= {*range(11), IGNORE_INDEX}


def test_last_batch_is_left_out_unless_it_is_the_only_one(tiny_cache):
    sizes = {
        count: [len(images) for images, _ in batches(tiny_cache, np.arange(count), "none", batch_size=8)[0]]
        for count in (20, 5)
    }
    assert sizes == {20: [8, 8], 5: [5]}


MIXING = [
    {"name": "copy_paste", "p": 1.0},
    {"name": "mosaic", "p": 1.0, "spread": 0.3},
    {"name": "cutmix", "p": 1.0, "area": 0.5},
]


def test_no_validation_pixel_ever_enters_training(tiny_cache):
    """All validation photos are white, which no training photo has: pasting and mixing must never show it."""
    train, val = np.arange(14), np.arange(14, 20)
    images = np.array(tiny_cache.images).clip(max=250)
    images[val] = 255
    assert images[train].max() < 255
    cache = replace(tiny_cache, images=images)
    draws = build_draws({"name": "paste", "ratio": 1.0, "rare": 10, "min_area": 0.0, "max_area": 1.0}, cache, train)
    loader, sampler = batches(cache, train, "none", draws=draws, mixing=MIXING)
    for epoch in range(1, 21):
        sampler.epoch = epoch
        for photos, _ in loader:
            assert photos.max() < 255
    leaking = build_draws({"name": "paste", "min_area": 0.0, "max_area": 1.0}, cache, np.arange(20))
    loader, sampler = batches(cache, train, "none", draws=leaking, mixing=MIXING)
    assert max(int(photos.max()) for photos, _ in loader) == 255  # the check can fail


@pytest.mark.parametrize("workers", [0, 2])
def test_mixing_and_pasting_repeat_by_seed_and_differ_by_epoch(tiny_cache, workers):
    draws = build_draws({"name": "paste", "min_area": 0.0, "max_area": 1.0}, tiny_cache, np.arange(20))

    def run(seed, epoch):
        loader, sampler = batches(
            tiny_cache, np.arange(20), "none", draws=draws, mixing=MIXING, workers=workers, seed=seed
        )
        sampler.epoch = epoch
        return torch.cat([images for images, _ in loader])

    assert torch.equal(run(0, 1), run(0, 1))
    assert not torch.equal(run(0, 1), run(0, 2))
    assert not torch.equal(run(0, 1), run(1, 1))


def test_batches_reach_the_device_in_their_order(tiny_cache):
    loader, _ = batches(tiny_cache, np.arange(20), "none")
    plain, moved = list(loader), list(on_device(loader, torch.device("cpu")))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(plain, moved, strict=True))
    if torch.cuda.is_available():
        moved = list(on_device(loader, torch.device("cuda")))
        assert all(torch.equal(a, b.cpu()) for (a, _), (b, _) in zip(plain, moved, strict=True))
