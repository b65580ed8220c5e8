"""Counts how often the interval of what to expect on unseen photos holds what they then show.

    python -m benchmarks.expectation --data DIR --encoder-weights DIR [--cases 20] [--hours 1]

Each case sets a test part aside by scenes, another one each time, and chooses on the other photos as a search does: of
some configs, drawn from those of `python -m benchmarks.long_curves`, the best epoch each and the best of all, and an
equal ensemble of the best two. Only then is the test part looked at. Half of the cases are of the demo data, with other
scenes each time. Finished cases are kept and not trained again. The last line is json.
"""

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.ensembling.expectation import HELD, epoch_luck, expect, trial_luck
from benchmarks.parts.long_jobs import all_configs
from benchmarks.parts.unseen import confusions, predict
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.demo import demo_data
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.metric.bootstrap import tallies
from trainable.metric.paired_comparison import miou
from trainable.storage.atomic_write import write_bytes

SIZE, EPOCHS, CONFIGS, PARTS = 64, 8, 4, 4
"""Pixels per side, epochs of a training, configs to choose from, and parts of which one is set aside."""


def case(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Choose on own photos, and return what was expected and what the test part then shows."""
    torch.set_num_threads(1)
    rng, demo = np.random.default_rng(number), bool(number % 2)
    root = demo_data(options.out / f"demo{number}", 240, 1, seed=number) if demo else options.data
    cache, _ = build_cache(read_training(root), SIZE, options.out / "cache")
    _, test = make_folds(cache, PARTS, number).split(cache.file_names, 0)
    own, val = make_folds(cache, 5, number).split(cache.file_names, 0)
    train, val = np.setdiff1d(own, test), np.setdiff1d(val, test)
    configs = all_configs(options.out / "configs.json")
    names = rng.choice([name for name in configs if ":" not in name], CONFIGS, replace=False)
    trained = [
        _trained(
            TrialConfig.from_dict(
                {
                    **configs[name],
                    "image_size": SIZE,
                    "epochs": EPOCHS,
                    "seed": number,
                    "encoder_weights": str(options.encoder_weights),
                    "device": "cpu",
                    "threads": 1,
                    "memory_format": "channels_last",
                    "precision": "bf16",
                }
            ),
            cache,
            train,
            val,
            test,
        )
        for name in names
    ]
    rivals = [tallies(confusions(maps[0], cache, val)) for _, maps in trained]
    values = [miou(rival) for rival in rivals]
    order = np.argsort(values)[::-1]
    best, pair = int(order[0]), order[:2]
    luck = [epoch_luck(curve) for curve, _ in trained]
    single = expect(rivals[best], len(test), luck[best], trial_luck(rivals))
    mean = [np.mean([trained[index][1][part] for index in pair], 0).round().astype(np.uint8) for part in (0, 1)]
    epochs = float(np.mean([luck[index] for index in pair]))
    together = expect(tallies(confusions(mean[0], cache, val)), len(test), epochs, trial_luck(rivals), models=2)
    test_maps = {"single": trained[best][1][1], "pair": mean[1]}
    return {
        "case": number,
        "set": "demo" if demo else options.data.name,
        "photos": [len(train), len(val), len(test)],
        **{
            name: {"expected": expected.record(), "shown": miou(tallies(confusions(test_maps[name], cache, test)))}
            for name, expected in (("single", single), ("pair", together))
        },
    }


def _trained(
    config: TrialConfig, cache: Cache, train: NDArray[np.int64], val: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Return a training's curve, and of its best epoch the maps of validation and test photos."""
    training, curve, best = FoldTraining(config, FoldData(cache, train, val)), list[float](), list[NDArray[np.uint8]]()
    for epoch in range(1, config.epochs + 1):
        row, _ = training.epoch(epoch, curve)
        if not curve or row["val_miou"] > max(curve):
            best = [predict(training, cache, positions) for positions in (val, test)]
        curve.append(row["val_miou"])
    return curve, best


def _run(task: tuple[int, argparse.Namespace]) -> str:
    number, options = task
    record = case(number, options)
    write_bytes(options.out / f"case{number:03d}.json", json.dumps(record).encode())
    return _describe(record)


def _describe(record: dict[str, Any]) -> str:
    parts = []
    for name in ("single", "pair"):
        value, low, high = (record[name]["expected"][part] for part in ("value", "low", "high"))
        outside = "" if _holds(record[name]) else "  OUTSIDE"
        parts.append(f"{name} {value:.3f} ({low:.3f} to {high:.3f}), shown {record[name]['shown']:.3f}{outside}")
    return f"case {record['case']} {record['set']}: {'; '.join(parts)}"


def _holds(outcome: dict[str, Any]) -> bool:
    return bool(outcome["expected"]["low"] <= outcome["shown"] <= outcome["expected"]["high"])


def main() -> None:
    """Train the cases that are missing, and count."""
    parser = argparse.ArgumentParser("benchmarks.expectation")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder-weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/expectation"))
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--hours", type=float, default=2.0, help="begin no case after so long")
    options = parser.parse_args()
    options.out, options.data = options.out.absolute(), options.data.absolute()
    options.encoder_weights = options.encoder_weights.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    all_configs(options.out / "configs.json")
    deadline = time.monotonic() + options.hours * 3600
    missing = [number for number in range(options.cases) if not (options.out / f"case{number:03d}.json").exists()]
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
        while missing and time.monotonic() < deadline:
            now, missing = missing[: options.processes], missing[options.processes :]
            for message in pool.map(_run, [(number, options) for number in now], chunksize=1):
                print(message, flush=True)
    cases = [json.loads(path.read_text()) for path in sorted(options.out.glob("case*.json"))]
    figures: dict[str, Any] = {"cases": len(cases), "held": HELD}
    for name in ("single", "pair"):
        errors = [record[name]["shown"] - record[name]["expected"]["value"] for record in cases]
        plain = [record[name]["shown"] - record[name]["expected"]["measured"] for record in cases]
        widths = [record[name]["expected"]["high"] - record[name]["expected"]["low"] for record in cases]
        figures[name] = {
            "covered": round(float(np.mean([_holds(record[name]) for record in cases])), 3),
            "shown_less_expected": round(float(np.mean(errors)), 4),
            "shown_less_measured": round(float(np.mean(plain)), 4),
            "half_width": round(float(np.mean(widths)) / 2, 4),
        }
    for name in ("single", "pair"):
        print(f"{name}: {figures[name]}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
