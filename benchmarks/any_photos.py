"""Reading many photos and predicting a large one, with the memory that each takes: python -m benchmarks.any_photos.

Bars: 5,000 photos of COCO read in 15 s with 1 GB; a photo of 8,000 x 6,000 px predicted by tiles in memory that does
not grow with its height. Each runs in a process of its own; the last line is json.
"""

import json
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trainable.config import TrialConfig
from trainable.formats.reading import read_data
from trainable.geometry import Geometry
from trainable.labelled_photos import check
from trainable.machine.device import peak_memory_mb
from trainable.model.segmenter import build_model
from trainable.model.windows import ScoreFrame, blended_rows

PHOTOS, OUTLINES, POINTS = 5000, 10, 12
HEIGHT, WIDTH, TILE = 6000, 8000, 512


def write_photos(root: Path) -> None:
    """Write a data set of own classes; the photos are links to one file."""
    rng = np.random.default_rng(0)
    first = root / "photo.jpg"
    Image.fromarray(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)).save(first)
    (root / "images").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    angles = np.linspace(0, 2 * math.pi, POINTS, endpoint=False)
    for number in range(PHOTOS):
        name = f"images/{number:05d}.jpg"
        os.link(first, root / name)
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
        for _ in range(OUTLINES):
            x, y, radius = rng.uniform(12, 52), rng.uniform(12, 36), rng.uniform(3, 12)
            outline = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).ravel().round(2)
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 1 + len(annotations) % 5,
                 "segmentation": [outline.tolist()]}
            )  # fmt: skip
    first.unlink()
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, 6)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "train_all.json").write_text(json.dumps(content))


def read(root: str) -> int:
    """Read the data set; returns its photos."""
    return len(check(read_data(Path(root))).photos)


def predict(height: int) -> int:
    """Predict a photo of a height by tiles; returns its windows."""
    photo_size, geometry = (height, WIDTH), Geometry(round(height / WIDTH, 4), (height // 8, WIDTH // 8), False)
    config = TrialConfig(
        architecture="fpn", encoder="tu-test_resnet", image_size=WIDTH, aspect=geometry.aspect, tile_size=TILE
    )
    model, windows = build_model(config).eval(), 0

    def network(photos: np.ndarray, corners: list[tuple[int, int]]) -> torch.Tensor:
        nonlocal windows
        windows += len(corners)
        with torch.inference_mode():
            logits: torch.Tensor = model(torch.from_numpy(photos))
        return logits.softmax(1)

    with tempfile.TemporaryDirectory() as folder:  # a photo in a cache: mapped, not in memory
        photo = np.lib.format.open_memmap(Path(folder) / "photo.npy", "w+", np.uint8, (*photo_size, 3))
        frame = ScoreFrame(photo_size, photo_size, geometry)
        for first, rows in blended_rows(network, photo, TILE, 2):
            frame.add(first, rows)
        assert frame.maps().shape[1:] == geometry.score
    return windows


def measured(function: Callable[[Any], int], given: Any) -> dict[str, float]:
    """Return what a function gives, its seconds, and the memory that its process took at most beyond its imports."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (function, given))


def _measure(function: Callable[[Any], int], given: Any) -> dict[str, float]:
    torch.set_num_threads(2)
    before, began = peak_memory_mb("cpu"), time.perf_counter()
    result = function(given)
    return {"result": result, "seconds": time.perf_counter() - began, "memory_mb": peak_memory_mb("cpu") - before}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder))
        reading = measured(read, folder)
    print(f"reading {PHOTOS:,} photos of COCO with {OUTLINES} outlines each: {reading['seconds']:.1f} s (bar 15 s), "
          f"{reading['memory_mb']:,.0f} MB (bar 1,000 MB)")  # fmt: skip
    tall, half = measured(predict, HEIGHT), measured(predict, HEIGHT // 2)
    for height, found in ((HEIGHT, tall), (HEIGHT // 2, half)):
        windows = f"{found['result']} windows of {TILE} px"
        took = f"{found['seconds']:.0f} s, {found['memory_mb']:,.0f} MB"
        print(f"predicting {WIDTH:,} x {height:,} px by {windows}: {took}")
    print(json.dumps({"reading": reading, "photos": PHOTOS, "tall": tall, "half": half}))


if __name__ == "__main__":
    main()
