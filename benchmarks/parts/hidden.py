"""Sets a part of a data set aside by scenes, so that nothing sees its answers, and scores submissions on it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.demo import demo_data
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.metric.confusion import confusion_matrices
from trainable.storage.atomic_write import write_bytes

SIZE = 96
"""Pixels per side of the search of every arm; what `ours` does beyond it is its own decision."""
FOLDS, TEST_PARTS = 5, 4

DEMO = {"demo-easy": (0.0, 0.0), "demo-middle": (0.8, 12.0), "demo-hard": (1.4, 30.0)}
"""Demo data in three difficulties: photos blurred by a standard deviation in pixels, then noise, of 255."""

DEMO_PHOTOS = 340


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of one set: those that an arm may see, and those that it may not."""

    own: Path  # data folder: train_all.json, and test.json without answers
    whole: Path
    out: Path
    weights: Path

    def cache(self, size: int) -> Cache:
        """Return the own photos."""
        return build_cache(read_training(self.own), size, self.out / "cache")[0]

    def fold(self, size: int, seed: int) -> FoldData:
        """Return the own photos with fold 0 to validate."""
        cache = self.cache(size)
        return FoldData.of(cache, make_folds(cache, FOLDS, seed), 0)

    def test(self, size: int) -> tuple[Cache, NDArray[np.int64]]:
        """Return the whole cache and where the test part is in it: for scoring alone."""
        cache, _ = build_cache(read_training(self.whole), size, self.out / "cache")
        names = {image["file_name"] for image in json.loads((self.own / "test.json").read_text())["images"]}
        return cache, np.array([position for position, name in enumerate(cache.file_names) if name in names])

    def config(self, parts: dict[str, Any], epochs: int, seed: int) -> TrialConfig:
        """Return a config that trains on one core."""
        return TrialConfig.from_dict(
            {
                "image_size": SIZE,
                **parts,
                "epochs": epochs,
                "seed": seed,
                "encoder_weights": str(self.weights),
                "device": "cpu",
                "threads": 1,
                "workers": 0,
                "precision": "auto",
                "memory_format": "auto",
            }
        )


def set_aside(whole: Path, out: Path, weights: Path) -> Photos:
    """Write the data folder that arms may see; the photos in it are links."""
    own = out / "own"
    content = json.loads((whole / "train_all.json").read_text())
    if not (own / "test.json").exists():
        cache, _ = build_cache(read_training(whole), SIZE, out / "cache")
        _, test = make_folds(cache, TEST_PARTS, 1).split(cache.file_names, 0)
        hidden = {cache.file_names[position] for position in test}
        own.mkdir(parents=True, exist_ok=True)
        for image in content["images"]:
            link = own / image["file_name"]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to((whole / image["file_name"]).resolve())
        for name, is_test in (("train_all.json", False), ("test.json", True)):
            images = [image for image in content["images"] if (image["file_name"] in hidden) == is_test]
            ids = {image["id"] for image in images}
            notes = [] if is_test else [note for note in content["annotations"] if note["image_id"] in ids]
            write_bytes(own / name, json.dumps({**content, "images": images, "annotations": notes}).encode())
    return Photos(own, whole, out, weights)


def data_folder(data: str, out: Path) -> Path:
    """Return the data folder of a path, or of a name of DEMO, which is made in `out` if it is not there."""
    if data not in DEMO:
        return Path(data).resolve()
    folder, (blur, noise) = out / data, DEMO[data]
    if not folder.exists():
        unfinished = folder.with_name(f"{data}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        demo_data(unfinished, DEMO_PHOTOS, 1)
        rng = np.random.default_rng(0)
        for path in sorted(unfinished.glob("*/*.jpg")):
            pixels: Any = cv2.imread(str(path))
            pixels = pixels.astype(np.float32)
            pixels = (cv2.GaussianBlur(pixels, (0, 0), blur) if blur else pixels) + rng.normal(0, noise, pixels.shape)
            cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])
        unfinished.rename(folder)
    return folder


def submission_counts(photos: Photos, path: Path) -> NDArray[np.int64]:
    """Return the confusion matrices (N, C, C) of a submission, photos as in the test part."""
    import pandas as pd

    table = pd.read_csv(path).set_index("image_id")["PredictionString"]
    cache, test = photos.test(SIZE)
    maps = np.stack(
        [np.array(table[cache.file_names[position]].split(), np.uint8).reshape(256, 256) for position in test]
    )
    return confusion_matrices(
        torch.from_numpy(cache.score_masks[test]), torch.from_numpy(maps), len(COMPETITION)
    ).numpy()
