"""Records full learning curves of random configs, without early stopping, for `benchmarks/replay`.

    python -m benchmarks.replay.record_curves --data DIR --encoder-weights DIR --hours 3

Every config of the space `joint` that its encoders allow can come. The first configs are also trained with other seeds
and on other folds. What was recorded is not recorded again: the command goes on where it was stopped, and at its end
brings `benchmarks/replay/curves.parquet` up to date.
"""

import argparse
import json
import multiprocessing
import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from benchmarks.replay.recorded import COLUMNS, EACH, FILE, Curve, read_curves, write_curves
from search.worker.build_checks import try_models
from spaces.encoders import GROUPS, STRIDES, pairs
from spaces.parts import Scope
from spaces.table import JOINT, find_space
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.storage.atomic_write import write_bytes

EPOCHS = 9
IMAGE_SIZES = (96, 64)
FOLDS = 5
REPEATED = 24
"""Configs that are also trained with other seeds and on other folds."""
REPEATS = tuple(sorted(((seed, fold) for fold in range(3) for seed in range(3)), key=lambda pair: (min(pair), pair)))
"""Seeds and folds; those that differ in one of both from the first come first."""

Job = tuple[int, int, int]
"""Number of a config, seed and fold."""


def jobs(configs: int) -> list[Job]:
    """Return what is to be trained: every config once, and the first ones with each seed on each fold."""
    once = [(number, 0, 0) for number in range(configs)]
    return once + [(number, *repeat) for repeat in REPEATS[1:] for number in range(min(REPEATED, configs))]


def scope_of(weights: Path) -> Scope:
    """Return the models that train, of those whose encoder's weights are there, and the image sizes."""
    available = [model for group in GROUPS for model in pairs(group) if (weights / f"{model[1]}.safetensors").exists()]
    models = list(dict.fromkeys(available))
    problems_by_model = try_models(base_config(weights), [list(model) for model in models], list(IMAGE_SIZES), {})
    sound = tuple(
        model for model, problems in zip(models, problems_by_model, strict=True) if not any(problems.values())
    )
    return Scope(sound, {name: values[:1] for name, values in STRIDES.items()}, IMAGE_SIZES)


def base_config(weights: Path) -> TrialConfig:
    """Return what all configs have in common."""
    return TrialConfig(
        epochs=EPOCHS,
        image_size=IMAGE_SIZES[0],
        encoder_weights=str(weights),
        device="cpu",
        precision="bf16",
        memory_format="channels_last",
    )


def sample(configs: int, scope: Scope) -> list[dict[str, Any]]:
    """Return random params of `joint`, and what of a config they decide."""
    space = find_space(JOINT, scope)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), []
    for _ in range(configs):
        trial = study.ask()
        parts = space.sample(trial)
        drawn.append({"params": trial.params, "parts": parts})
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
            row, validated = training.epoch(epoch, [earlier["val_miou"] for earlier in rows])
            rows.append({**row, "cpu_s": time.process_time() - before})
            assert validated is not None
            matrices = validated.scored
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


def collected(out: Path) -> list[Curve]:
    """Return the curves of a folder."""
    curves = []
    for path in sorted(out.glob("*-seed*-fold*.json")):
        number, seed, fold = (int(digits) for digits in re.findall(r"\d+", path.stem))
        content = json.loads(path.read_text())
        names = [name for name in COLUMNS if content["rows"] and name in content["rows"][0]]
        rows = {name: np.array([row[name] for row in content["rows"]]) for name in names}
        counts = np.load(path.with_suffix(".npz"))["counts"] if content["rows"] else np.empty((0, 0, 1, 3), np.int32)
        # By photo they are most of the table's size: for what is compared between seeds and folds.
        photos = counts[EACH - 1 :: EACH] if number < REPEATED and content["rows"] else None
        curves.append(Curve(number, seed, fold, content["state"], rows, counts.sum(1, dtype=np.int64), photos))
    return curves


def main() -> None:
    """Record what is missing, for as long as is allowed."""
    parser = argparse.ArgumentParser("benchmarks.replay.record_curves")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder-weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/curves"), help="where single curves are kept")
    parser.add_argument("--configs", type=int, default=160)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--hours", type=float, default=3.0, help="begin no training after so long")
    options = parser.parse_args()
    out, data, weights = options.out.absolute(), options.data.absolute(), options.encoder_weights.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if FILE.exists():
        before, configs, facts = read_curves()
    else:
        scope = scope_of(weights)
        before, configs = [], sample(options.configs, scope)
        facts = {"epochs": EPOCHS, "torch": torch.__version__, "data": data.name, "scope": asdict(scope)}
    done = {curve.job for curve in before} | {curve.job for curve in collected(out)}
    missing = [job for job in jobs(len(configs)) if job not in done]
    print(f"{len(missing)} of {len(jobs(len(configs)))} curves are missing", flush=True)
    base = base_config(weights).to_dict()
    tasks = [(job, {**base, **configs[job[0]]["parts"]}, data, out / "cache", out) for job in missing]
    try:
        train(tasks, options.processes, time.monotonic() + options.hours * 3600)
    finally:
        new = [curve for curve in collected(out) if curve.job not in {earlier.job for earlier in before}]
        write_curves([*before, *new], configs, facts, FILE)


def train(given: list[Any], processes: int, deadline: float) -> None:
    """Train in processes of their own: the peak memory of one is then that of its training."""
    context, waiting = multiprocessing.get_context("forkserver"), iter(given)
    modules = ("search.worker.build_checks", "trainable.dataset.stratified_folds", "trainable.engine.fold_training")
    context.set_forkserver_preload(list(modules))
    with context.Pool(processes, maxtasksperchild=1) as pool:
        running: list[Any] = []
        while True:
            while len(running) < processes and time.monotonic() < deadline:
                if (task := next(waiting, None)) is None:
                    break
                running.append(pool.apply_async(record, (task,)))
            if not running:
                return
            running[0].wait(0.5)
            for result in [result for result in running if result.ready()]:
                running.remove(result)
                (number, seed, fold), message = result.get()
                print(f"{time.strftime('%H:%M:%S')} config {number} seed {seed} fold {fold}: {message}", flush=True)


if __name__ == "__main__":
    main()
