"""The arms of `benchmarks.chain`: what each does with its core-seconds."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from benchmarks.chain.records import REFERENCE, Race, keep, tallied
from benchmarks.parts.hidden import SIZE, Photos, submission_counts
from benchmarks.parts.long_jobs import chosen_configs
from benchmarks.parts.unseen import FLIPS, confusions, predict
from search.settings.phase_names import PROMOTE
from spaces.encoders import STRIDES, pairs
from spaces.parts import Scope
from spaces.table import JOINT, find_space
from trainable.engine.fold_training import DivergedError, FoldTraining
from trainable.run_folder.folders import RunFolder

ROOT = Path(__file__).parents[2]
SHORT, GRACE = 12, 3
"""Epochs of a short training, and before ASHA may stop one."""
CORES = 2
REFERENCE_BUDGETS = ((1.0, SIZE), (0.5, SIZE), (0.5, 2 * SIZE))
"""Shares of the core-seconds, with pixels per side."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """The space of the arms that draw from it, without its first trials: they are the product's knowledge.

    It is no closure: Tune keeps the space it is given in its snapshots.
    """

    weights: Path

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Return the parts of a config."""
        available = [model for model in pairs("light") if (self.weights / f"{model[1]}.safetensors").exists()]
        sound = tuple(model for model in available if model[0] not in ("dpt", "pan"))  # not built at these sizes
        strides = {**STRIDES, "deeplabv3plus": (16,)}
        return {"parts": find_space(JOINT, Scope(sound, strides, (SIZE, 64, 128), epochs=SHORT)).sample(trial)}


class Long:
    """A training that ends when its core-seconds are spent: measured first, so that its schedule fits."""

    def __init__(self, photos: Photos, parts: dict[str, Any], seconds: float, seed: int):
        config = photos.config(parts, 2, seed)
        began, training = time.process_time(), FoldTraining(config, photos.fold(config.image_size, seed))
        first, _ = training.epoch(1, [])
        half = time.process_time()
        training.epoch(2, [first["val_miou"]])
        took = time.process_time() - half  # the first one takes longer
        self.epochs = max(int((seconds - (time.process_time() - began)) / took), 1)
        self.config = photos.config(parts, self.epochs, seed)
        self.photos, self.seconds, self.began = photos, seconds, began

    def train(self) -> dict[str, Any]:
        """Train, and return the test part's maps of the best epoch, without and with flips."""
        size = self.config.image_size
        training, curve = FoldTraining(self.config, self.photos.fold(size, self.config.seed)), list[float]()
        cache, test = self.photos.test(size)
        best: dict[str, Any] = {}
        for epoch in range(1, self.epochs + 1):
            row, _ = training.epoch(epoch, curve)
            if not curve or row["val_miou"] > max(curve):
                views = [predict(training, cache, test, view) for view in FLIPS]
                best = {"plain": views[0], "flips": np.mean(views, 0).round().astype(np.uint8)}
            curve.append(row["val_miou"])
            if time.process_time() - self.began > self.seconds:
                break
        counts = {name: confusions(maps, cache, test) for name, maps in best.items()}
        return {
            "val_miou": max(curve),
            "epochs": len(curve),
            "of": self.epochs,
            "size": size,
            "config": {**self.config.to_dict(), "encoder_weights": "given"},
            "core_s": time.process_time() - self.began,
            "tallies": {name: tallied(matrices) for name, matrices in counts.items()},
        }


def _long(photos: Photos, parts: dict[str, Any], seconds: float, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    return Long(photos, parts, seconds, seed).train()


def _short(photos: Photos, parts: dict[str, Any], seed: int) -> tuple[float, float]:
    """Return the best val_miou of a short training and its core-seconds."""
    torch.set_num_threads(1)
    began, curve = time.process_time(), [0.0]
    try:
        config = photos.config(parts, SHORT, seed)
        training = FoldTraining(config, photos.fold(config.image_size, seed))
        for epoch in range(1, SHORT + 1):
            curve.append(training.epoch(epoch, curve[1:])[0]["val_miou"])
    except (DivergedError, ValueError):
        pass
    return max(curve), time.process_time() - began


def reference(photos: Photos, seconds: float, race: Race, records: Path) -> None:
    """Train the reference recipe with each of its budgets that is missing, side by side."""
    parts = chosen_configs()["reference"]
    with ThreadPool(CORES) as threads:

        def train(budget: tuple[float, int]) -> None:
            share, size = budget
            with _pool(1) as pool:
                task = (photos, {**parts, "image_size": size}, share * seconds, race.seed)
                keep(records, race, f"{REFERENCE}{share:g}x{size}", partial(pool.apply, _long, task))

        threads.map(train, REFERENCE_BUDGETS, chunksize=1)


def random(photos: Photos, seconds: float, seed: int) -> dict[str, Any]:
    """Try random configs for half of the core-seconds, and train the best one for the rest."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, study = Joint(photos.weights), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    tried: list[tuple[float, dict[str, Any]]] = []
    spent, running = 0.0, list[tuple[Any, dict[str, Any]]]()
    with _pool() as pool:
        while spent < seconds / 2 or running:
            while spent < seconds / 2 and len(running) < CORES:
                parts = space(study.ask())["parts"]
                running.append((pool.apply_async(_short, (photos, parts, seed)), parts))
            running[0][0].wait(0.5)
            for job in [job for job in running if job[0].ready()]:
                running.remove(job)
                value, took = job[0].get()
                spent += took
                tried.append((value, job[1]))
    return _winner_long(photos, tried, seconds - spent, seed)


def stock(photos: Photos, seconds: float, seed: int) -> dict[str, Any]:
    """Let Ray Tune with Optuna and ASHA search for half of the core-seconds, and train the best one for the rest."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    out, deadline = photos.out / f"stock-{seed}", time.time() + seconds / 2 / CORES
    os.environ["PYTHONPATH"] = str(ROOT)
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    try:
        shared = ray.put((photos, seed))

        def trial(config: dict[str, Any]) -> None:
            data, trial_seed = ray.get(shared)
            torch.set_num_threads(1)
            trial_config = data.config(dict(config["parts"]), SHORT, trial_seed)
            training, curve = FoldTraining(trial_config, data.fold(trial_config.image_size, trial_seed)), list[float]()
            for epoch in range(1, SHORT + 1):
                curve.append(training.epoch(epoch, curve)[0]["val_miou"])
                tune.report({"val_miou": curve[-1], "best": max(curve), "epoch": epoch})

        search = OptunaSearch(
            Joint(photos.weights), metric="val_miou", mode="max", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=search,
                num_samples=-1,
                time_budget_s=max(deadline - time.time(), 1),
                scheduler=ASHAScheduler(
                    time_attr="epoch", metric="val_miou", mode="max", max_t=SHORT, grace_period=GRACE
                ),
            ),
            run_config=tune.RunConfig(storage_path=str(out), verbose=0),
        )
        results = tuner.fit()
        ended = [results[index] for index in range(len(results))]
        tried = [
            (float(result.metrics["best"]), result.config["parts"])
            for result in ended
            if result.metrics and "best" in result.metrics and result.config
        ]
    finally:
        ray.shutdown()
    return _winner_long(photos, tried, seconds / 2, seed)


def _winner_long(
    photos: Photos, tried: list[tuple[float, dict[str, Any]]], seconds: float, seed: int
) -> dict[str, Any]:
    best = max(tried, key=lambda attempt: attempt[0])
    with _pool() as pool:
        record: dict[str, Any] = pool.apply(_long, (photos, best[1], seconds, seed))
    return {**record, "tried": len(tried), "short_val_miou": best[0]}


def ours(photos: Photos, seconds: float, seed: int) -> dict[str, Any]:
    """Run the product: as many core-seconds as its processes hold the cores for."""
    runs = photos.out / f"runs-{seconds:.0f}-{seed}"
    command = [
        sys.executable,
        str(ROOT / "search/run.py"),
        "--space",
        JOINT,
        "--data",
        str(photos.own),
        "--name",
        "ours",
        "--encoders",
        "light",
        "--encoder-weights",
        str(photos.weights),
        "--image-size",
        str(SIZE),
        "--seed",
        str(seed),
        "--runs-dir",
        str(runs),
        "--cache-dir",
        str(photos.out / "cache"),
        "--to",
        "submission",
    ]
    if (runs / "ours" / "phases.json").exists():
        command = [sys.executable, str(ROOT / "search/run.py"), "--resume", "ours", "--runs-dir", str(runs)]
    began = time.monotonic()
    with (photos.out / f"ours-{seconds:.0f}-{seed}.log").open("a") as log:
        subprocess.run(
            [*command, "--until", f"{seconds / CORES:.0f}s"],
            check=True,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    held = (time.monotonic() - began) * CORES
    chain = json.loads((runs / "ours" / "phases.json").read_text())
    phases = [{key: phase[key] for key in ("name", "seconds", "found")} for phase in chain["phases"]]
    promoted = next(phase["told"] for phase in chain["phases"] if phase["name"] == PROMOTE)
    stored = json.loads((RunFolder(runs / "ours-long").path / "ensemble" / "ensemble.json").read_text())
    return {
        "core_s": held,
        "phases": phases,
        "promoted": promoted,
        "expected": stored["expected"],
        "tallies": {"plain": tallied(submission_counts(photos, runs / "ours" / "submission.csv"))},
    }


def _pool(processes: int = CORES) -> Any:
    return multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=1)
