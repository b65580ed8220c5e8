"""Trains configs of `joint` with budgets of 12 to 100 epochs, on photos that a test part is set aside from.

    python -m benchmarks.long_curves --data DIR --encoder-weights DIR [--device cuda --processes 16 --minutes 9]

Short budgets choose what is fast. This records what they miss: the same configs with 12, 24, 48 and 100 epochs, each
with a schedule of its own length; the same again as cycles, each from the weights of the one before, at one image size
or at a larger one in the last cycle; one knob at a time moved away from the recorded winner; and all own photos trained
on, where no fold is held out. The test part, a quarter by scenes, is predicted after every epoch and decides nothing.
Goes on where it was stopped; `--ensembles` then scores all sets of up to three members of each budget.
`python -m benchmarks.budgets` reads what comes out.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import multiprocessing
import queue
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parts.long_jobs import SIZE, Job, all_configs, all_jobs
from benchmarks.parts.unseen import FLIPS, confusions, predict
from trainable.coco.reader import read_training
from trainable.config import NO_FOLD, TrialConfig
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.metric.confusion import mean_iou
from trainable.storage.atomic_write import write_bytes

TEST_PARTS, FOLDS = 4, 5


@dataclass(frozen=True)
class Part:
    """The photos: positions in the cache."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]

    @classmethod
    def of(cls, cache: Cache) -> "Part":
        """Set the test part aside by scenes, then a validation fold; what is left trains."""
        _, test = make_folds(cache, TEST_PARTS, 1).split(cache.file_names, 0)
        own, val = make_folds(cache, FOLDS, 0).split(cache.file_names, 0)
        return cls(np.setdiff1d(own, test), np.setdiff1d(val, test), test)


def train(job: Job, config: TrialConfig, cache_of: Callable[[int], Cache], part: Part, scratch: Path, out: Path) -> str:
    """Train one job and write its record; returns what to say of it."""
    rows: list[dict[str, float]] = []
    state, weights, best_counts = "finished", None, {}
    began = time.perf_counter()
    training_part = np.concatenate([part.train, part.val]) if job.whole else part.train
    try:
        for cycle, (epochs, size) in enumerate(zip(job.cycles, job.sizes, strict=True)):
            cache = cache_of(size)
            chosen = dataclasses.replace(
                config, epochs=epochs, seed=cycle, fold=NO_FOLD if job.whole else 0, image_size=size
            )
            training = FoldTraining(chosen, FoldData(cache, training_part, part.val[:0] if job.whole else part.val))
            if weights is not None:
                training.model.load_state_dict(weights)
            best = -1.0
            for epoch in range(1, epochs + 1):
                before = [row["val_miou"] for row in rows if row["cycle"] == cycle and "val_miou" in row]
                row, validated = training.epoch(epoch, before)
                maps = predict(training, cache, part.test)
                counts = confusions(maps, cache, part.test)
                row["test_miou"] = mean_iou(torch.from_numpy(counts.sum(0)))
                rows.append({"cycle": cycle, **{name: row[name] for name in KEPT if name in row}})
                if validated is None or row["val_miou"] > best:
                    best = row.get("val_miou", best)
                    best_counts[cycle] = {
                        "test": shares(counts),
                        **({"val": shares(validated.scored)} if validated else {}),
                    }
                    if len(job.cycles) == 1:
                        scored = part.test if job.whole else np.concatenate([part.val, part.test])
                        views = [predict(training, cache, scored, view) for view in FLIPS]
            weights = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    except Exception as error:
        state = f"{type(error).__name__}: {error}".splitlines()[0]
    if state == "finished" and len(job.cycles) == 1:
        with_flips = np.mean(views, 0, dtype=np.float32).round().astype(np.uint8)
        np.save(scratch / f"{job.name}.npy", np.stack([views[0], with_flips]))
    arrays: dict[str, Any] = {
        f"{name}{cycle}": array for cycle, by_part in best_counts.items() for name, array in by_part.items()
    }
    with (out / f"{job.name}.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)
    content = {**dataclasses.asdict(job), "state": state, "rows": rows, "trial": config.to_dict()}
    write_bytes(out / f"{job.name}.json", json.dumps(content).encode())
    best = max((row.get("val_miou", row["test_miou"]) for row in rows), default=float("nan"))
    return (
        f"{state}, best {best:.3f}, last on the test part {rows[-1]['test_miou'] if rows else float('nan'):.3f}, "
        f"{time.perf_counter() - began:.0f} s"
    )


KEPT = ("val_miou", "val_miou_full", "test_miou", "train_loss", "val_loss", "train_s", "val_s")


def shares(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return hits, pixels in truth and in prediction, (N, C, 3), of confusion matrices (N, C, C)."""
    return np.stack([counts.diagonal(axis1=1, axis2=2), counts.sum(2), counts.sum(1)], -1).astype(np.int32)


def work(options: argparse.Namespace, jobs: Any, told: Any) -> None:
    """Take jobs until there are none, or none that would end in time."""
    torch.set_num_threads(1)

    @functools.cache
    def cache_of(size: int) -> Cache:
        return build_cache(read_training(options.data), size, options.out / "cache")[0]

    part = Part.of(cache_of(SIZE))
    configs = all_configs(options.out / "configs.json")
    base = TrialConfig(
        image_size=SIZE,
        encoder_weights=str(options.encoder_weights.absolute()),
        device=options.device,
        precision="fp32" if options.device == "cuda" else "bf16",
        memory_format="channels_last",
    ).to_dict()
    spent, trained = 0.0, 0
    while (job := jobs.get()) is not None:
        seconds_left = options.deadline - time.time()
        if (trained and spent / trained * job.epochs > seconds_left) or seconds_left < 0:
            continue
        began = time.perf_counter()
        config = TrialConfig.from_dict({**base, **configs[job.config], "image_size": job.size})
        message = train(job, config, cache_of, part, options.scratch, options.out)
        if trained or job.epochs > 12:
            spent, trained = spent + time.perf_counter() - began, trained + job.epochs
        told.put(f"{time.strftime('%H:%M:%S')} {job.name}: {message}")
    told.put(None)


def main() -> None:
    """Train what is missing, for as long as is allowed; or score ensembles."""
    parser = argparse.ArgumentParser("benchmarks.long_curves")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder-weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/long_curves"))
    parser.add_argument("--scratch", type=Path, help="where probabilities are kept (default OUT/scratch)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=180.0, help="begin no training that would not end in time")
    parser.add_argument("--only", default="", metavar="PATTERN", help="of the names of the trainings to do: 160px, ...")
    parser.add_argument("--scale", type=float, default=1.0, help="of all epochs; below 1 to try the command")
    parser.add_argument("--ensembles", action="store_true")
    options = parser.parse_args()
    options.scratch = options.scratch or options.out / "scratch"
    for folder in (options.out, options.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    options.deadline = time.time() + options.minutes * 60
    cache, _ = build_cache(read_training(options.data), SIZE, options.out / "cache")
    part = Part.of(cache)
    print(f"{len(part.train)} photos train, {len(part.val)} validate, {len(part.test)} test", flush=True)
    if options.ensembles:
        score_ensembles(cache, part, options.scratch, options.out)
        return
    jobs = all_jobs(list(all_configs(options.out / "configs.json")))
    if options.scale != 1:
        jobs = [
            dataclasses.replace(job, cycles=tuple(max(round(epochs * options.scale), 1) for epochs in job.cycles))
            for job in jobs
        ]
    missing = [
        job
        for job in dict.fromkeys(jobs)
        if re.search(options.only, job.name) and not (options.out / f"{job.name}.json").exists()
    ]
    print(
        f"{len(missing)} of {len(jobs)} trainings are missing: {sum(job.epochs for job in missing)} epochs", flush=True
    )
    context = multiprocessing.get_context("spawn")
    waiting, messages = context.Queue(), context.Queue()
    for job in [*missing, *[None] * options.processes]:
        waiting.put(job)
    workers = [context.Process(target=work, args=(options, waiting, messages)) for _ in range(options.processes)]
    for worker in workers:
        worker.start()
    ended = 0
    while ended < options.processes and any(worker.is_alive() for worker in workers):
        try:
            message = messages.get(timeout=5)
        except queue.Empty:
            continue
        ended += message is None
        if message:
            print(message, flush=True)
    for worker in workers:
        worker.join(10)


def score_ensembles(cache: Cache, part: Part, scratch: Path, out: Path) -> None:
    """Score every set of one to three members of a budget, and the best four to six, without and with flips."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = []
    for path in sorted(out.glob("*.json")):
        content = json.loads(path.read_text())
        has_maps = (scratch / f"{path.stem}.npy").exists()
        if has_maps and content["state"] == "finished" and len(content["cycles"]) == 1 and content["size"] == SIZE:
            best = max(row.get("val_miou", 0.0) for row in content["rows"])
            trained.append((content["cycles"][0], content["whole"], content["config"], best, path.stem))
    scores = []
    for (epochs, whole), group in itertools.groupby(sorted(trained), key=lambda member: member[:2]):
        members = sorted(group, key=lambda member: -member[3])
        main = [member for member in members if ":" not in member[2]]
        maps = {member[2]: torch.from_numpy(np.load(scratch / f"{member[4]}.npy")).to(device) for member in members}
        sets = [(member[2],) for member in members]
        sets += [tuple(member[2] for member in some) for size in (2, 3) for some in itertools.combinations(main, size)]
        sets += [tuple(member[2] for member in main[:size]) for size in (4, 5, 6, 8, 12) if size <= len(main)]
        positions = part.test if whole else np.concatenate([part.val, part.test])
        for chosen in sets:
            for view in (0, 1):
                mean = torch.stack([maps[name][view].float() for name in chosen]).mean(0).round().to(torch.uint8)
                counts = confusions(mean, cache, positions)
                parts = {"test": counts[-len(part.test) :], **({} if whole else {"val": counts[: len(part.val)]})}
                values = {name: mean_iou(torch.from_numpy(matrices.sum(0))) for name, matrices in parts.items()}
                scores.append({"epochs": epochs, "whole": whole, "members": chosen, "flips": bool(view), **values})
        print(f"{epochs} epochs{' on all photos' if whole else ''}: {len(sets)} sets", flush=True)
    write_bytes(out / "ensembles.json", json.dumps(scores).encode())


if __name__ == "__main__":
    main()
