"""Records full learning curves of random configs, without early stopping, for `benchmarks/replay.py`.

    python -m benchmarks.record_curves --data DIR --encoder-weights DIR --out runs/curves

Every config of the space `joint` that its encoders allow can come. The first configs are also trained with other seeds
and on other folds. What was recorded is not recorded again: the command goes on where it was stopped.
"""

import argparse
import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from search.tries import try_models
from spaces.encoders import GROUPS, STRIDES, pairs
from spaces.table import JOINT, Scope, find_space
from trainable.artifacts import write_bytes, write_json
from trainable.cache import build_cache
from trainable.coco import read_training
from trainable.config import TrialConfig
from trainable.data import FoldData
from trainable.dealing import make_folds
from trainable.training import FoldTraining

EPOCHS = 9
IMAGE_SIZES = (96, 64)
FOLDS = 5
REPEATED = 24
"""Configs that are also trained with other seeds and on other folds."""
REPEATS = tuple((seed, fold) for fold in range(3) for seed in range(3))

Job = tuple[int, int, int]
"""Number of a config, seed and fold."""


def jobs(configs: int) -> list[Job]:
    """Return what is to be trained: every config once, and the first ones with each seed on each fold."""
    once = [(number, 0, 0) for number in range(configs)]
    return once + [(number, *repeat) for number in range(min(REPEATED, configs)) for repeat in REPEATS[1:]]


def sample(configs: int, weights: Path) -> list[dict[str, Any]]:
    """Return random configs of `joint` and the parameters they come from."""
    base = TrialConfig(epochs=EPOCHS, image_size=IMAGE_SIZES[0], encoder_weights=str(weights), device="cpu",
                       precision="bf16", memory_format="channels_last")  # fmt: skip
    there = [model for group in GROUPS for model in pairs(group) if (weights / f"{model[1]}.safetensors").exists()]
    models = list(dict.fromkeys(there))
    found = try_models(base, [list(model) for model in models], list(IMAGE_SIZES), {})
    sound = tuple(model for model, problems in zip(models, found, strict=True) if not any(problems.values()))
    strides = {name: each[:1] for name, each in STRIDES.items()}
    space = find_space(JOINT, Scope(sound, strides, IMAGE_SIZES))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), []
    for _ in range(configs):
        trial = study.ask()
        parts = space.sample(trial)
        drawn.append({"params": trial.params, "config": {**base.to_dict(), **parts}})
    return drawn


def record(given: tuple[Job, dict[str, Any], Path, Path, Path]) -> tuple[Job, str]:
    """Train one config to the end and write its curve; returns what to say of it."""
    (number, seed, fold), content, data, cache_dir, out = given
    config = replace(TrialConfig.from_dict(content), seed=seed, fold=fold)
    rows: list[dict[str, float]] = []
    counts: list[NDArray[np.int32]] = []
    state, began = "finished", time.perf_counter()
    try:
        cache, _ = build_cache(read_training(data), config.image_size, cache_dir)
        training = FoldTraining(config, FoldData.of(cache, make_folds(cache, FOLDS, 0), fold))
        for epoch in range(1, EPOCHS + 1):
            before = time.process_time()
            row, validated = training.epoch(epoch, [each["val_miou"] for each in rows])
            rows.append({**row, "cpu_s": time.process_time() - before})
            assert validated is not None
            matrices = validated.at_256
            counts.append(np.stack([matrices.diagonal(axis1=1, axis2=2), matrices.sum(2), matrices.sum(1)], -1))
    except Exception as error:
        state = f"{type(error).__name__}: {error}".splitlines()[0]
    path = curve_file(out, (number, seed, fold))
    if counts:
        with path.with_suffix(".part").open("wb") as file:
            np.savez_compressed(file, counts=np.array(counts, np.int32))
        path.with_suffix(".part").replace(path.with_suffix(".npz"))
    write_bytes(path, json.dumps({"state": state, "rows": rows}).encode())
    best = max((row["val_miou"] for row in rows), default=float("nan"))
    cpu = sum(row["cpu_s"] for row in rows)
    return (number, seed, fold), f"{state}, val_miou {best:.3f}, {cpu:.0f} CPU s, {time.perf_counter() - began:.0f} s"


def curve_file(out: Path, job: Job) -> Path:
    """Return where a curve goes; beside it, as .npz, hits, truth and prediction of each epoch, photo and class."""
    number, seed, fold = job
    return out / f"{number:03d}-seed{seed}-fold{fold}.json"


def main() -> None:
    """Record what is missing, for as long as is allowed."""
    parser = argparse.ArgumentParser("benchmarks.record_curves")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder-weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/curves"))
    parser.add_argument("--configs", type=int, default=160)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--hours", type=float, default=3.0, help="begin no training after so long")
    options = parser.parse_args()
    out, data = options.out.absolute(), options.data.absolute()
    out.mkdir(parents=True, exist_ok=True)
    listing = out / "configs.json"
    if not listing.exists():
        write_json(listing, sample(options.configs, options.encoder_weights.absolute()))
    configs = json.loads(listing.read_text())
    left = [job for job in jobs(len(configs)) if not curve_file(out, job).exists()]
    print(f"{len(left)} of {len(jobs(len(configs)))} curves are missing", flush=True)
    deadline = time.monotonic() + options.hours * 3600
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["search.tries", "trainable.dealing", "trainable.training"])
    # A process of its own for each training: its peak memory is then the training's.
    with context.Pool(options.processes, maxtasksperchild=1) as pool:
        given = ((job, configs[job[0]]["config"], data, out / "cache", out) for job in left)
        running: list[Any] = []
        while given or running:
            while given and len(running) < options.processes and time.monotonic() < deadline:
                if (one := next(given, None)) is None:
                    break
                running.append(pool.apply_async(record, (one,)))
            if not running:
                break
            running[0].wait(0.5)
            for each in [each for each in running if each.ready()]:
                running.remove(each)
                job, told = each.get()
                print(f"{time.strftime('%H:%M:%S')} config {job[0]} seed {job[1]} fold {job[2]}: {told}", flush=True)


if __name__ == "__main__":
    main()
