"""Patches of objects are looked for once in a process."""

from dataclasses import replace

import numpy as np

from trainable.pipeline import object_patches
from trainable.pipeline.object_patches import find_patches

POSITIONS = np.arange(20)


def test_pieces_of_a_file_of_masks_are_looked_for_once(tiny_cache, monkeypatch):
    assert isinstance(tiny_cache.masks, np.memmap)
    object_patches._known.clear()
    first = find_patches(tiny_cache, POSITIONS, range(1, 11))
    looked, pieces = [], object_patches._pieces
    monkeypatch.setattr(object_patches, "_pieces", lambda *given: looked.append(given) or pieces(*given))
    again = find_patches(tiny_cache, POSITIONS, range(1, 11))
    assert looked == [] and len(again) == len(first) > 0
    assert all(one is other for one, other in zip(first, again, strict=True))
    # Masks that are no file's may be others the next time.
    plain = find_patches(replace(tiny_cache, masks=np.array(tiny_cache.masks)), POSITIONS, range(1, 11))
    assert looked and [patch.area for patch in plain] == [patch.area for patch in first]


def test_pieces_of_a_few_files_are_kept(tiny_cache, tmp_path):
    object_patches._known.clear()
    for number in range(object_patches.KNOWN_SIZES + 2):
        np.save(tmp_path / f"{number}.npy", np.asarray(tiny_cache.masks))
        masks = np.load(tmp_path / f"{number}.npy", mmap_mode="r")
        find_patches(replace(tiny_cache, masks=masks), POSITIONS, [3])
    assert len(object_patches._known) == object_patches.KNOWN_SIZES
