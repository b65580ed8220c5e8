"""The time and memory of an ensemble's selection: 100 models x 400 photos, nested cross-validation included.

Generated probabilities at 256 x 256 in files as trials leave them. Bars: 60 s and 4 GB on 2 cores. Writing the files
takes some minutes and 4 GB of disk; --models and --photos make it smaller.

python -m benchmarks.speed.selection
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from analysis.ensembling.nested_cv import decide
from analysis.pool.labelled_photos import Labelled
from analysis.pool.pixel_samples import draw_samples
from trainable.classes import COMPETITION
from trainable.run_folder.out_of_fold import Maps, encoded, write_maps

SIDE, FOLDS, C = 256, 5, len(COMPETITION)


def truth_of(photo: int) -> np.ndarray:
    """A photo's class map: background with a few round objects."""
    rng = np.random.default_rng(photo)
    y, x = np.ogrid[:SIDE, :SIDE]
    classes = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 6)):
        top, left = rng.integers(0, SIDE, 2)
        classes[(y - top) ** 2 + (x - left) ** 2 < rng.integers(10, 60) ** 2] = rng.integers(1, C)
    return classes


def write_member(task: tuple[Path, int, int]) -> None:
    """Write what one model says of all photos: the truth, blurred, with errors of its own in large patches."""
    folder, member, photos = task
    rng = np.random.default_rng(10_000 + member)
    skill = 1.0 + 1.5 * rng.random()
    for fold in range(FOLDS):
        names, rows = [], []
        for photo in range(fold, photos, FOLDS):
            soft = np.stack([cv2.blur((truth_of(photo) == index).astype(np.float32), (9, 9)) for index in range(C)])
            noise = rng.normal(size=(SIDE // 16, SIDE // 16, C)).astype(np.float32)
            logits = 4 * skill * soft + 2 * cv2.resize(noise, (SIDE, SIDE)).transpose(2, 0, 1)
            likely = np.exp(logits - logits.max(0))
            names.append(f"{photo:04d}.jpg")
            rows += encoded([(likely / likely.sum(0) * 255).astype(np.uint8)])
        write_maps(folder / f"{member}-{fold}.parquet", zip(names, rows, strict=True), (SIDE, SIDE))


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.speed.selection")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--photos", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(write_member, [(folder, member, options.photos) for member in range(options.models)]))
        size = sum(file.stat().st_size for file in folder.iterdir()) / options.models / options.photos / 1000
        names = tuple(f"{photo:04d}.jpg" for photo in range(options.photos))
        fold = np.arange(options.photos) % FOLDS
        masks = np.stack([truth_of(photo) for photo in range(options.photos)])
        sizes = np.full((options.photos, 2), SIDE)
        cache: Any = SimpleNamespace(file_names=names, score_masks=masks, photo_sizes=sizes)
        dataset: Any = None
        labelled = Labelled(dataset, folder, False, names, fold, fold, {SIDE: cache})
        start = time.perf_counter()
        members = [
            {part: Maps.open(folder / f"{member}-{part}.parquet") for part in range(FOLDS)}
            for member in range(options.models)
        ]
        samples = draw_samples(members, labelled)
        read = time.perf_counter()
        decision = decide(members, labelled, samples)
        end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{options.models} models x {options.photos} photos ({size:.0f} kB a photo): {end - start:.1f} s "
        f"({read - start:.1f} s reading), peak memory {peak:.2f} GB (bars 60 s, 4 GB)"
    )
    print(f"{decision.method}: {decision.chosen} against the best single {decision.single}")


if __name__ == "__main__":
    main()
