import numpy as np
import pytest
import torch

from trainable.augment import build_augmentation
from trainable.coco import IGNORE_INDEX
from trainable.loader import TrainingPhotos, training_batches


def epochs(cache, *, workers, seed=0, count=2, augmentation="reference"):
    """Return the batches of some epochs, each as (images, masks) stacked."""
    photos = TrainingPhotos(cache, build_augmentation({"name": augmentation}), seed)
    loader, sampler = training_batches(photos, np.arange(20), batch_size=5, workers=workers, pin=False)
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
    photos = TrainingPhotos(tiny_cache, build_augmentation({"name": "reference"}), 0)
    loader, sampler = training_batches(photos, np.zeros(20, np.int64), batch_size=5, workers=2, pin=False)
    sampler.epoch = 1
    batches = [images for images, _ in loader]
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[2], batches[3])


def test_epoch_on_its_own_is_the_same_as_after_others(tiny_cache):
    straight = epochs(tiny_cache, workers=0, count=3)[2]
    photos = TrainingPhotos(tiny_cache, build_augmentation({"name": "reference"}), 0)
    loader, sampler = training_batches(photos, np.arange(20), batch_size=5, workers=0, pin=False)
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
    photos = TrainingPhotos(tiny_cache, build_augmentation({"name": "none"}), 0)
    sizes = {
        count: [len(images) for images, _ in training_batches(
            photos, np.arange(count), batch_size=8, workers=0, pin=False)[0]]
        for count in (20, 5)
    }  # fmt: skip
    assert sizes == {20: [8, 8], 5: [5]}
