"""Epochs that are written while the next one trains: the same files, and nothing told before it is on disk."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_photos
from tests.trainable import training_that_is_killed
from trainable.engine import epoch_files
from trainable.engine.checkpoint import load_tensors, saved_header
from trainable.engine.halting import HaltedError
from trainable.fold import train_fold
from trainable.run_folder.folders import TrialFolder

CHANGES = [{}, {"ema_decay": 0.9}, {"optimizer": {"name": "lookahead_adamw"}}, {"freeze_share": 0.5}]


def train(config, data, folder: Path, **more):
    rows = []
    train_fold(config, data, TrialFolder(folder), rows.append, **more)
    return rows


@pytest.mark.parametrize("change", CHANGES)
def test_the_files_are_the_same(tiny_config, tiny_data, tmp_path, change):
    config = replace(tiny_config, **change)
    for name, behind in (("0000", False), ("0001", True)):
        train(config, tiny_data, tmp_path / name, behind=behind)
    first, second = (TrialFolder(tmp_path / name) for name in ("0000", "0001"))
    for file in ("best_weights", "last_state", "previous_state"):
        (before, _), (after, _) = (load_tensors(getattr(folder, file)) for folder in (first, second))
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name].numpy(), after[name].numpy()) for name in before), file
    times = {"images_per_s", "train_s", "data_s", "val_s", "peak_memory_mb"}
    curves = [
        [{name: value for name, value in row.items() if name not in times} for row in folder.curve()]
        for folder in (first, second)
    ]
    assert repr(curves[0]) == repr(curves[1])
    assert (first.path / "confusion.npz").exists() and (first.path / "out_of_fold.parquet").exists()
    assert first.out_of_fold.read_bytes() == second.out_of_fold.read_bytes()


def test_nothing_is_told_before_it_is_on_disk(tiny_config, tiny_data, tmp_path, monkeypatch):
    folder, save, told, steps = TrialFolder(tmp_path), epoch_files.save_tensors, [], []

    def slowly(path, *args, **header):
        time.sleep(0.4)
        save(path, *args, **header)

    def report(row):
        assert saved_header(folder.last_state)["rows"][-1]["epoch"] == row["epoch"]
        assert folder.curve()[-1]["epoch"] == row["epoch"]
        assert threading.current_thread() is threading.main_thread()
        told.append((row["epoch"], len(steps)))

    monkeypatch.setattr(epoch_files, "save_tensors", slowly)
    train_fold(tiny_config, tiny_data, folder, report, halt=lambda: steps.append(1), behind=True)
    per_epoch = next(count for epoch, count in told if epoch == tiny_config.epochs) / tiny_config.epochs
    assert [epoch for epoch, _ in told] == list(range(1, tiny_config.epochs + 1))
    assert told[0][1] > per_epoch  # the second epoch had begun by then


def test_a_halt_waits_for_the_epoch_before(tiny_config, tiny_data, tmp_path, monkeypatch):
    straight = train(tiny_config, tiny_data, tmp_path / "0000")
    save, told = epoch_files.save_tensors, []
    steps, counted = _steps_of_an_epoch(tiny_config, tiny_data), iter(range(1000))

    def slowly(path, *args, **header):
        time.sleep(0.3)
        save(path, *args, **header)

    def halt():
        # The step of the second epoch in which the first one is still being written; asked once between epochs too.
        return "the node goes away" if next(counted) == steps + 2 else None

    with monkeypatch.context() as patch:
        patch.setattr(epoch_files, "save_tensors", slowly)
        with pytest.raises(HaltedError, match="saved in epoch 2"):
            train_fold(tiny_config, tiny_data, TrialFolder(tmp_path / "0001"), told.append, halt=halt, behind=True)
    assert [row["epoch"] for row in told] == [1]
    rest = train(tiny_config, tiny_data, tmp_path / "0001", resume=True, behind=True)
    assert [row["train_loss"] for row in rest] == [row["train_loss"] for row in straight]


def _steps_of_an_epoch(config, data) -> int:
    return len(data.train) // config.batch_size


def test_what_cannot_be_written_ends_the_training(tiny_config, tiny_data, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(epoch_files, "save_tensors", full)
    with pytest.raises(OSError, match="Input/output error"):
        train_fold(tiny_config, tiny_data, TrialFolder(tmp_path), lambda row: pytest.fail("reported"), behind=True)


def test_what_the_last_epoch_came_to_is_told_before_the_next_one_fails(tiny_config, tiny_data, tmp_path):
    told, steps = [], _steps_of_an_epoch(tiny_config, tiny_data)
    counted = iter(range(1000))

    def fails():
        if next(counted) == steps + 2:
            raise RuntimeError("a broken fan")

    with pytest.raises(RuntimeError, match="a broken fan"):
        train_fold(tiny_config, tiny_data, TrialFolder(tmp_path), told.append, halt=fails, behind=True)
    assert [row["epoch"] for row in told] == [1]


@pytest.mark.slow
def test_what_was_told_outlives_any_kill(tmp_path):
    """A training is killed at random moments; each epoch it has told is there, and the rest comes to the same curve."""
    write_photos(tmp_path / "data", count=20)
    config, data = training_that_is_killed.made_of(tmp_path / "data")
    straight = train(config, data, tmp_path / "0000")
    chance = random.Random(0)
    for attempt in range(2):
        folder, log = tmp_path / f"killed-{attempt}", tmp_path / f"told-{attempt}"
        command = [sys.executable, "-m", "tests.trainable.training_that_is_killed"]
        process = subprocess.Popen([*command, str(tmp_path / "data"), str(folder), str(log)], start_new_session=True)
        deadline = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.6))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        told = [int(line) for line in log.read_text().split()]
        assert told and [row["epoch"] for row in TrialFolder(folder).curve()][: len(told)] == told
        rest = train(config, data, folder, resume=True, behind=True)
        assert rest[0]["epoch"] >= told[-1]
        losses = [row["train_loss"] for row in TrialFolder(folder).curve()]
        assert losses == [row["train_loss"] for row in straight]


def test_a_training_that_goes_on_loads_no_encoder_weights(tiny_config, tiny_data, tmp_path, monkeypatch):
    """They would be overwritten; where no state is sound they are loaded all the same."""
    from trainable.encoder_weights import save_encoder
    from trainable.model import segmenter

    save_encoder(tiny_config.encoder, tmp_path / "weights", weights=None)
    config = replace(tiny_config, encoder_weights=str(tmp_path / "weights"), epochs=2)
    loaded, load = [], segmenter._load_encoder
    monkeypatch.setattr(segmenter, "_load_encoder", lambda *given: loaded.append(given) or load(*given))
    straight = train(config, tiny_data, tmp_path / "0000")
    train(config, tiny_data, tmp_path / "0001", until=1)
    assert len(loaded) == 2
    rest = train(config, tiny_data, tmp_path / "0001", resume=True)
    assert len(loaded) == 2 and rest[-1]["train_loss"] == straight[-1]["train_loss"]
    folder = TrialFolder(tmp_path / "0001")
    for state in (folder.last_state, folder.previous_state):
        state.write_bytes(b"nothing")
    again = train(config, tiny_data, tmp_path / "0001", resume=True)
    assert len(loaded) == 3 and again[-1]["train_loss"] == straight[-1]["train_loss"]
