"""Compact probabilities: exact where it matters, small, and loud when damaged."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from trainable.classes import CLASSES
from trainable.run_folder.out_of_fold import DamagedMapsError, Maps, encoded, quantised, rounded, write_maps
from trainable.storage.disk_full import wait_for_room

C = len(CLASSES)


def test_rounding_keeps_the_likeliest_class_and_the_probability() -> None:
    probabilities = (torch.randn(3, C, 40, 40) * 0.02).softmax(1)  # all near 1 / 11: rounding ties nearly everywhere
    whole = rounded(probabilities)
    assert torch.equal(whole.max(1).indices, probabilities.max(1).indices)
    assert (whole / 255 - probabilities).abs().max() <= 1.5 / 255


def test_a_certain_class_is_255() -> None:
    logits = torch.zeros(1, C, 4, 4)
    logits[:, 3] = 100
    assert (quantised(logits)[:, 3] == 255).all()


def test_classes_that_vote_by_weights_of_their_own_may_both_be_certain() -> None:
    probabilities = torch.zeros(1, C, 1, 1)
    probabilities[0, 3], probabilities[0, 7] = 0.9995, 1.0
    assert rounded(probabilities)[0, :, 0, 0].argmax() == 7


def test_large_maps_are_kept_at_the_pixels_the_score_looks_at() -> None:
    logits = torch.randn(1, C, 512, 512)
    maps = quantised(logits)
    assert maps.shape == (1, C, 256, 256)
    assert torch.equal(maps.max(1).indices, logits.max(1).indices[:, ::2, ::2])


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 256, (3, C, 8, 8), np.uint8)
    write_maps(tmp_path / "maps.parquet", zip("abc", encoded(maps), strict=True), (8, 8), 3)
    found = Maps.open(tmp_path / "maps.parquet")
    assert (
        found.shape == (8, 8)
        and found.classes == CLASSES
        and found.epoch == 3
        and list(found.row_of) == ["a", "b", "c"]
    )
    np.testing.assert_array_equal(list(found.read(["c", "a"])), maps[[2, 0]])


def test_writing_waits_for_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, waits = os.fsync, []

    def full(descriptor: int) -> None:
        if len(waits) < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    wait_for_room(waits.append)
    try:
        maps = encoded(quantised(torch.randn(2, C, 32, 32)).numpy())
        write_maps(tmp_path / "maps.parquet", zip("ab", maps, strict=True), (32, 32))
    finally:
        wait_for_room(None)
    assert list(Maps.open(tmp_path / "maps.parquet").row_of) == ["a", "b"]
    assert len(waits) == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "maps.parquet"
    write_maps(path, zip("ab", encoded(quantised(torch.randn(2, C, 32, 32)).numpy()), strict=True), (32, 32))
    with pytest.raises(DamagedMapsError, match="has no photo z"):
        list(Maps.open(path).read(["z"]))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    with pytest.raises(DamagedMapsError, match="cannot be read"):
        list(Maps.open(path).read(["a", "b"]))
    path.write_bytes(whole[:100])
    with pytest.raises(DamagedMapsError, match="cannot be read"):
        Maps.open(path)
