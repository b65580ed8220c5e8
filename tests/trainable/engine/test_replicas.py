"""One trial over several GPUs of a node; here over processes that speak by Gloo."""

import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainable.dataset.cache import Cache
from trainable.dataset.concat import Rows
from trainable.engine import replicas
from trainable.engine.halting import HaltedError
from trainable.engine.replicas import Replica, ReplicaError, ReplicaGroup, ReplicaTask
from trainable.fold import train_fold
from trainable.machine.device import OutOfMemoryError
from trainable.pipeline.loader import TrainingPhotos, training_batches
from trainable.run_folder.folders import TrialFolder

pytestmark = pytest.mark.timeout(240)

WITHOUT_BATCH_NORM = {
    "architecture": "fpn", "encoder": "tu-convnext_atto", "decoder": {"decoder_dropout": 0.0}, "image_size": 64,
}  # fmt: skip
"""Batch norms see the whole batch on GPUs alone: PyTorch has no synchronised one for a CPU."""


@pytest.fixture
def plain_config(tiny_config):
    """A config whose trainings over one and over two processes have the same photos."""
    changes = {**WITHOUT_BATCH_NORM, "image_size": tiny_config.image_size}
    return replace(
        tiny_config, **changes, epochs=2, batch_size=4, augmentation={"name": "none"}, operations=[], mixing=[],
        optimizer={"name": "adamw", "lr": 1e-3}, precision="fp32", memory_format="contiguous",
    )  # fmt: skip


def train(config, data, folder: Path, gpus: int, **more):
    rows = []
    train_fold(config, data, TrialFolder(folder), rows.append, gpus=gpus, **more)
    return rows


def test_two_processes_come_to_the_curve_of_one(plain_config, tiny_data, tmp_path):
    config = replace(plain_config, loss={"name": "lovasz"})  # which is no mean over pixels, nor over photos
    alone = train(config, tiny_data, tmp_path / "0000", 1)
    together = train(config, tiny_data, tmp_path / "0001", 2)
    for name in ("train_loss", "val_loss", "val_miou", "val_miou_full"):
        assert [row[name] for row in together] == pytest.approx([row[name] for row in alone], rel=2e-4), name
    first, second = (TrialFolder(tmp_path / name) for name in ("0000", "0001"))
    for name in ("file_names", "scored", "full"):
        assert first.confusion()[name].shape == second.confusion()[name].shape
    assert list(first.confusion()["file_names"]) == list(second.confusion()["file_names"])
    assert np.abs(first.confusion()["scored"] - second.confusion()["scored"]).sum() < 100  # pixels on the fence


def test_parts_of_parts_come_to_it_too(plain_config, tiny_data, tmp_path):
    alone = train(plain_config, tiny_data, tmp_path / "0000", 1)
    split = train(replace(plain_config, accumulation=2), tiny_data, tmp_path / "0001", 2)
    assert [row["train_loss"] for row in split] == pytest.approx([row["train_loss"] for row in alone], rel=2e-4)
    assert split[0]["accumulation"] == 2


def test_a_frozen_encoder_and_averaged_weights_come_to_it_too(plain_config, tiny_data, tmp_path):
    loss = {"name": "ce_dice", "weight": 0.5}
    config = replace(plain_config, loss=loss, freeze_share=0.5, ema_decay=0.9, clip_norm=1.0)
    alone, together = (train(config, tiny_data, tmp_path / str(gpus), gpus) for gpus in (1, 2))
    assert [row["train_loss"] for row in together] == pytest.approx([row["train_loss"] for row in alone], rel=2e-4)


def test_a_halted_training_goes_on_over_any_number(plain_config, tiny_data, tmp_path):
    straight = train(plain_config, tiny_data, tmp_path / "0000", 2)
    asked = iter(range(100))
    with pytest.raises(HaltedError):
        train(plain_config, tiny_data, tmp_path / "0001", 2, halt=lambda: "stop" if next(asked) == 4 else None)
    assert TrialFolder(tmp_path / "0001").part_state.exists()
    rest = train(plain_config, tiny_data, tmp_path / "0001", 1, resume=True)
    assert rest[-1]["train_loss"] == pytest.approx(straight[-1]["train_loss"], rel=2e-4)


def test_what_fails_elsewhere_ends_the_training_with_its_reason(plain_config, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TRASHSWEEP_TEST_FAULT", "raise ValueError('a broken fan')")
    monkeypatch.setattr(replicas, "COMMAND", [sys.executable, str(Path(__file__).with_name("faulty_replica.py"))])
    with pytest.raises(ReplicaError, match=r"on GPU 1 of 2: ValueError: a broken fan"):
        train(plain_config, tiny_data, tmp_path / "0000", 2)


def test_memory_that_is_short_elsewhere_is_spared_by_all(plain_config, tiny_data, tmp_path, monkeypatch):
    """The second process finds no room in the second epoch until the batch is in parts: all go on from the first."""
    monkeypatch.setenv(
        "TRASHSWEEP_TEST_FAULT",
        "\nif self.steps >= 5 and self.accumulation == 1: raise RuntimeError('CUDA error: out of memory')",
    )
    monkeypatch.setattr(replicas, "COMMAND", [sys.executable, str(Path(__file__).with_name("faulty_replica.py"))])
    rows = train(plain_config, tiny_data, tmp_path / "0000", 2)
    assert [row["epoch"] for row in rows] == [1, 1, 2] or [row["epoch"] for row in rows][-1] == 2
    assert rows[-1]["accumulation"] == 2
    assert any("memory ran short" in note for note in TrialFolder(tmp_path / "0000").notes())


def test_a_killed_process_ends_the_training(plain_config, tiny_data, tmp_path, monkeypatch):
    started = []
    popen = subprocess.Popen

    def remembered(*args, **options):
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(replicas.subprocess, "Popen", remembered)
    asked = iter(range(100))

    def halt():
        if next(asked) == 2:
            os.kill(started[0].pid, signal.SIGKILL)

    with pytest.raises(ReplicaError, match="a process of this training ended"):
        train(plain_config, tiny_data, tmp_path / "0000", 2, halt=halt)
    assert all(process.poll() is not None for process in started)


def test_processes_are_ended_where_they_cannot_meet(plain_config, tiny_data, tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def remembered(*args, **options):
        started.append(popen(*args, **options))
        return started[-1]

    def fails(*_):
        raise RuntimeError("no network")

    monkeypatch.setattr(replicas.subprocess, "Popen", remembered)
    monkeypatch.setattr(replicas, "join_process_group", fails)
    with pytest.raises(RuntimeError, match="no network"):
        train(plain_config, tiny_data, tmp_path / "0000", 2)
    assert started and all(process.poll() is not None for process in started)


def test_a_process_ends_with_rank_0(tmp_path):
    """A process ends when the pipe of its task does, in the midst of whatever it waits for."""
    process = subprocess.Popen([sys.executable, "-m", "trainable.engine.replica_process"], stdin=subprocess.PIPE)
    process.stdin.close()
    assert process.wait(60) != 0


def test_a_batch_that_cannot_be_split_evenly_is_refused(plain_config, tiny_data, tmp_path):
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 GPUs of a trial, found 4; choose"):
        train(plain_config, tiny_data, tmp_path / "0000", 3)


def test_parts_are_the_batch(tiny_data, plain_config):
    from trainable.pipeline.augmentation import build_augmentation
    from trainable.pipeline.oversampling import build_draws

    draws = build_draws({"name": "none"}, tiny_data.cache, tiny_data.train)
    photos = TrainingPhotos(tiny_data.cache, draws, [], build_augmentation({"name": "none"}, [], (32, 32)), 0)
    loaders = [
        training_batches(photos, batch_size=4, workers=0, pin=False, rank=rank, world_size=count)[0]
        for rank, count in ((0, 1), (0, 2), (1, 2))
    ]
    for whole, *parts in zip(*(loader.batch_sampler for loader in loaders), strict=True):
        assert sorted(key for part in parts for key in part) == sorted(whole)
        assert len(parts[0]) == len(parts[1]) == 2


def test_batch_norms_see_the_whole_batch_on_gpus():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    assert isinstance(Replica(0, 2).synchronise(network, "cuda")[1], torch.nn.SyncBatchNorm)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    assert isinstance(Replica(0, 1).synchronise(network, "cuda")[1], torch.nn.BatchNorm2d)


def test_a_task_carries_a_cache_by_its_files(plain_config, tiny_data, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.asarray(tiny_data.cache.images))
    mapped = np.load(path, mmap_mode="r")
    data = replace(tiny_data, cache=replace(tiny_data.cache, images=mapped))
    task = ReplicaTask(Replica(1, 2), plain_config, data, TrialFolder(tmp_path), False, None, "meeting")
    folder = tmp_path / "task"
    folder.mkdir()
    task.write(folder)
    copied = ReplicaTask.read(folder)
    assert copied.data.cache.images.filename == str(path) and np.array_equal(copied.data.cache.images, mapped)
    assert not (folder / "images.npy").exists()
    for name in (each.name for each in fields(Cache)):
        assert np.array_equal(getattr(copied.data.cache, name), getattr(data.cache, name)), name
    assert np.array_equal(copied.data.train, data.train) and np.array_equal(copied.data.val, data.val)
    assert replace(copied, data=data) == task


def test_a_task_carries_further_photos_and_parts_of_arrays(plain_config, tiny_data, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.asarray(tiny_data.cache.images))
    part = np.load(path, mmap_mode="r")[2:]
    cache = replace(tiny_data.cache, images=Rows(part, np.asarray(tiny_data.cache.images)))
    ReplicaTask(
        Replica(1, 2), plain_config, replace(tiny_data, cache=cache), TrialFolder(tmp_path), False, None, "meeting"
    ).write(tmp_path)
    images = ReplicaTask.read(tmp_path).data.cache.images
    assert np.array_equal(images[np.arange(len(images))], np.concatenate([part, tiny_data.cache.images]))


def test_too_much_memory_for_one_photo_ends_the_trial(plain_config, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TRASHSWEEP_TEST_FAULT", "raise RuntimeError('CUDA error: out of memory')")
    monkeypatch.setattr(replicas, "COMMAND", [sys.executable, str(Path(__file__).with_name("faulty_replica.py"))])
    with pytest.raises(OutOfMemoryError, match="one photo of 32 px at a time does not fit"):
        train(plain_config, tiny_data, tmp_path / "0000", 2)


def test_a_single_gpu_needs_no_group(plain_config, tiny_data, tmp_path):
    with ReplicaGroup(1, plain_config, tiny_data, TrialFolder(tmp_path), False, None) as group:
        assert group.replica.is_main and not torch.distributed.is_initialized()
