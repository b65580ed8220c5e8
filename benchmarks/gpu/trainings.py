"""Whole trainings: epochs against their steps alone, several at a time, precisions, and resumes."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.setting import GPU, Model, Setting, our_step, synchronise
from benchmarks.gpu.steps import Way, chosen, measured
from trainable.config import TrialConfig
from trainable.engine.checkpoint import load_tensors
from trainable.engine.fold_training import FoldTraining, Row
from trainable.fold import train_fold
from trainable.machine.device import algorithms_searched
from trainable.run_folder.folders import TrialFolder

EPOCHS = 3

PATIENCE_S = 90
"""The longest that one of several trainings is waited for."""


def epoch(setting: Setting) -> None:
    """Whole epochs of a fold as large as the competition's, with all that is written, against the steps alone.

    An epoch is written while the next one trains, so its time is that from the end of one to the end of the next, the
    files of both on disk. The first one is left out: it begins with the loading processes and with cuDNN's search.
    """
    train, val = setting.fold
    data = setting.fold_data(setting.size, train, val)
    first, last = setting.models[0], setting.models[-1]
    runs = [(first, "reference"), (last, "heavy")] + [(model, "reference") for model in setting.models[2:-1]]
    for model, augmentation in runs[:1] if setting.tiny else runs:
        config, searched = chosen(setting, setting.config(model, augmentation={"name": augmentation}, epochs=EPOCHS))
        way = Way("ours", partial(our_step, config, setting.batch()), searched, 2 if setting.tiny else 20)
        figures = measured(way, 1 if setting.tiny else 5)
        if "error" in figures:
            setting.keep("epoch", model="+".join(model), **figures)
            continue
        ms = figures["ms"]
        ends, rows = [time.perf_counter()], list[Row]()

        def report(row: Row, ends: list[float] = ends, rows: list[Row] = rows) -> None:
            ends.append(time.perf_counter())
            rows.append(row)

        with folder_in(setting) as folder:
            train_fold(config, data, TrialFolder(folder / "0000"), report)
            state_mb = TrialFolder(folder / "0000").last_state.stat().st_size / 1e6
        count, batches = EPOCHS - 1, train // setting.batch_size
        wall_s = (ends[-1] - ends[1]) / count
        train_s, val_s, data_s = (sum(row[name] for row in rows[1:]) / count for name in ("train_s", "val_s", "data_s"))
        alone_s = batches * ms / 1000
        setting.keep(
            "epoch",
            model="+".join(model),
            augmentation=augmentation,
            wall_s=wall_s,
            train_s=train_s,
            data_s=data_s,
            val_s=val_s,
            rest_s=wall_s - train_s - val_s,
            steps_alone_s=alone_s,
            steps_share=alone_s / wall_s,
            # a forward pass of validation takes about a third of a step
            gpu_share=(alone_s + val * ms / 3000 / setting.batch_size) / wall_s,
            first_epoch_and_start_s=ends[1] - ends[0],
            state_mb=state_mb,
        )


@contextmanager
def folder_in(setting: Setting) -> Iterator[Path]:
    """Give a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=setting.work) as folder:
        yield Path(folder)


def packing(setting: Setting) -> None:
    """One, two and four trainings at a time on the GPU: photos a second of all together."""
    context = multiprocessing.get_context("spawn")
    photos = setting.batch_size * (4 if setting.tiny else 100)
    setting.fold_data(setting.size, photos, setting.batch_size)  # decoded before they start
    for model in setting.models[:3:2]:
        for together in (1, 2) if setting.tiny else (1, 2, 4):
            barrier, results = context.Barrier(together), context.Queue()
            given = (setting, model, photos, barrier, results)
            processes = [context.Process(target=_packed, args=given) for _ in range(together)]
            for process in processes:
                process.start()
            found = [results.get(timeout=PATIENCE_S) for _ in processes]
            for process in processes:
                process.join()
            seconds = max(end for _, end in found) - min(start for start, _ in found)
            speed = together * photos / seconds
            setting.keep("packing", model="+".join(model), together=together, photos_per_s=speed)


def _packed(setting: Setting, model: Model, photos: int, barrier: Any, results: Any) -> None:
    data = setting.fold_data(setting.size, photos, setting.batch_size)
    training = FoldTraining(setting.config(model, workers=0 if setting.tiny else 3), data)
    training.epoch(1, [])
    synchronise()
    barrier.wait()
    start = time.time()  # of the machine: these are several processes
    with algorithms_searched(training.searches_algorithms):
        training._train(2, [0.0], None)
    synchronise()
    results.put((start, time.time()))


def parity(setting: Setting) -> None:
    """The same training on a CPU in fp32 with three seeds, and on the GPU in fp32, bf16 and fp16."""
    base = setting.config(
        ("deeplabv3plus", "mobilenet_v2"),
        batch_size=8,
        image_size=64 if setting.tiny else 128,
        workers=0,
        epochs=2 if setting.tiny else 8,
        augmentation={"name": "light"},
        encoder_weights=setting.weights,
        optimizer={"name": "adamw", "lr": 5e-4},
    )
    on_cpu = replace(base, device="cpu", precision="fp32", memory_format="contiguous", threads=1 if setting.tiny else 4)
    runs = {f"cpu fp32 seed {seed}": replace(on_cpu, seed=seed) for seed in ((0,) if setting.tiny else (0, 1, 2))}
    if GPU:
        runs |= {
            f"gpu {name} seed 0": replace(base, device="cuda", precision=name) for name in ("fp32", "bf16", "fp16")
        }
    setting.fold_data(base.image_size, *setting.few)
    with folder_in(setting) as folder:
        given = [(setting, config, folder / f"{index:04d}") for index, config in enumerate(runs.values())]
        with multiprocessing.get_context("spawn").Pool(len(runs)) as pool:
            for name, rows in zip(runs, pool.imap(_curve, given), strict=True):
                curves = {key: [round(row[key], 4) for row in rows] for key in ("train_loss", "val_loss", "val_miou")}
                setting.keep("parity", way=name, **curves)


def _curve(given: tuple[Setting, TrialConfig, Path]) -> list[Row]:
    setting, config, folder = given
    rows: list[Row] = []
    train_fold(config, setting.fold_data(config.image_size, *setting.few), TrialFolder(folder), rows.append)
    return rows


def resume(setting: Setting) -> None:
    """Three epochs in one go, and two and one after a resume: equal to the bit? And with deterministic algorithms?"""
    size = 64 if setting.tiny else 128
    data = setting.fold_data(size, *setting.few)
    config = setting.config(("unetplusplus", "mobilenet_v2"), image_size=size, batch_size=4, workers=0, epochs=EPOCHS)
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        torch.backends.cudnn.deterministic = deterministic
        found = {}
        with folder_in(setting) as folder:
            for name, parts in (("straight", (EPOCHS,)), ("again", (EPOCHS,)), ("resumed", (EPOCHS - 1, EPOCHS))):
                trial = TrialFolder(folder / name)
                for until in parts:
                    train_fold(config, data, trial, lambda row: None, resume=True, until=until)
                tensors = load_tensors(trial.last_state)[0]
                found[name] = {key: each.double() for key, each in tensors.items() if key.startswith("model.")}
        for other in ("again", "resumed"):
            apart = max(float((each - found[other][key]).abs().max()) for key, each in found["straight"].items())
            setting.keep("resume", deterministic=deterministic, compared=other, largest_difference_of_a_weight=apart)
