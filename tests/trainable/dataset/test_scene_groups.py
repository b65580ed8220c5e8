import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from trainable.coco.reader import read_training
from trainable.dataset.demo import scene
from trainable.dataset.scene_groups import group_scenes, scene_hashes


def jpeg_copy(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "recompressed": lambda image: jpeg_copy(image, 40),
    "turned": lambda image: image.rotate(90),
    "mirrored": ImageOps.mirror,
    "shrunk and brighter": lambda image: image.resize((90, 90)).point(lambda value: min(255, int(value * 1.15))),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_join_their_photo_and_nothing_else(copy):
    rng = np.random.default_rng(3)
    images = [Image.fromarray(scene(rng)[0]) for _ in range(30)]
    images += [COPIES[copy](image) for image in images[:5]]
    # Names far apart, so that the looser bound for neighbours does not help.
    names = [f"{index * 7 % len(images):03d}.jpg" for index in range(len(images))]
    groups = group_scenes(np.array([scene_hashes(image) for image in images]), names)
    assert groups[30:].tolist() == groups[:5].tolist()
    assert len(set(groups)) >= 28


def test_neighbouring_frames_join_by_a_looser_bound():
    hashes = np.zeros((10, 8), np.uint64)
    hashes[:] = np.random.default_rng(0).integers(0, 2**63, (10, 8), dtype=np.uint64)
    hashes[1, 0] = hashes[0, 0] ^ np.uint64(0b11111111111111)  # 14 bits: no duplicate
    near = group_scenes(hashes, [f"{index}.jpg" for index in range(10)])
    assert near[0] == near[1]
    apart = group_scenes(hashes, ["0.jpg", "9.jpg", *(f"{index}.jpg" for index in range(1, 9))])
    assert apart[0] != apart[1]


def chain(count, bits):
    """Return hashes of which each differs from the one before in some bits, all others being far from all."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (count, 8), dtype=np.uint64)
    own = np.zeros(count, np.uint64)
    for index in range(1, count):
        flipped = sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))
        own[index] = own[index - 1] ^ np.uint64(flipped)
    hashes[:, 0] = own
    return hashes


def test_chains_that_join_most_photos_are_broken():
    names = [f"{index * 37 % 60:03d}.jpg" for index in range(60)]  # far apart
    assert np.bincount(group_scenes(chain(60, 9), names)).max() == 1
    copies = np.repeat(chain(1, 1), 60, axis=0)
    assert np.bincount(group_scenes(copies, names)).max() == 60  # the same photo stays the same
    few = group_scenes(chain(12, 9), names[:12])
    assert np.bincount(few).max() == 12


def test_real_photos_are_hardly_grouped(trash, tmp_path):
    photos = read_training(trash).photos[::3]
    hashes = np.array([scene_hashes(Image.open(photo.path)) for photo in photos])
    assert len(set(group_scenes(hashes, [photo.file_name for photo in photos]))) >= len(photos) - 2
