"""Training photos per second and core: our data path against the reference's: python -m benchmarks.speed.data_path.

The reference reads the JPEG, converts it to float and rasterises each polygon at every access, at 512 px. Both run the
same augmentation. Bars: 2.5x at 512 px, 8x at 256 px, all but the augmentation within 0.2 ms a photo.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools.coco import COCO

from benchmarks.speed.turns import median_seconds
from trainable.coco.reader import read_training
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.demo import demo_data
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.loader import TrainingPhotos, training_batches
from trainable.pipeline.oversampling import Draws

PHOTOS, ROUNDS, BATCH = 96, 5, 8
REAL = Path(os.environ.get("TRASH_DATA", Path(__file__).parents[3] / "shared" / "data" / "trash"))


class ReferenceLoader:
    """The baseline's way: everything from scratch at each access."""

    def __init__(self, root: Path, size: int, augmentation: str):
        self.root, self.size = root, size
        self.coco = COCO(str(root / "train_all.json"))
        self.images = self.coco.loadImgs(self.coco.getImgIds())[:PHOTOS]
        self.augmentation = build_augmentation({"name": augmentation}, [], (size, size))

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        entry = self.images[index]
        stored: Any = cv2.imread(str(self.root / entry["file_name"]))
        image: Any = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(np.float32)
        image /= 255.0
        mask: Any = np.zeros((entry["height"], entry["width"]), np.uint8)
        annotations = self.coco.loadAnns(self.coco.getAnnIds(imgIds=entry["id"]))
        for annotation in sorted(annotations, key=lambda annotation: annotation["area"], reverse=True):
            mask[self.coco.annToMask(annotation) == 1] = annotation["category_id"]
        if self.size != mask.shape[0]:
            image = cv2.resize(image, (self.size, self.size))
            mask = cv2.resize(mask, (self.size, self.size), interpolation=cv2.INTER_NEAREST)
        out = self.augmentation(image=image, mask=mask)
        return out["image"], out["mask"]

    def epoch(self) -> None:
        samples: list[tuple[np.ndarray, np.ndarray]] = []
        for index in range(len(self.images)):
            samples.append(self.sample(index))
            if len(samples) == BATCH:
                images, masks = zip(*samples, strict=True)
                torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))
                samples = []


def our_epoch(cache: Cache, augmentation: str) -> Callable[[], None]:
    pipeline = build_augmentation({"name": augmentation}, [], cache.frame)
    photos = TrainingPhotos(cache, Draws(np.arange(PHOTOS)), [], pipeline, 0)
    loader, sampler = training_batches(photos, batch_size=BATCH, workers=0, pin=False)

    def epoch() -> None:
        sampler.epoch += 1
        for _ in loader:
            pass

    return epoch


def milliseconds(ways: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return each way's median ms a photo."""
    return {name: 1000 * seconds / PHOTOS for name, seconds in median_seconds(ways, ROUNDS).items()}


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        real = REAL.exists()
        root = REAL if real else demo_data(Path(folder) / "demo", photos=PHOTOS)
        name = "real photos" if real else "demo data, as the real photos are not at hand: the bars are not for it"
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (pycocotools prints)
        reference = ReferenceLoader(root, 512, "reference").epoch
        resized = ReferenceLoader(root, 256, "reference").epoch
        sys.stdout = sys.__stdout__
        caches = {size: build_cache(read_training(root), size, Path(folder) / "cache")[0] for size in (512, 256)}
        times = milliseconds(
            {
                "reference at 512": reference,
                "reference shrunk to 256": resized,
                **{f"ours at {size}": our_epoch(cache, "reference") for size, cache in caches.items()},
                **{f"ours at {size}, not augmented": our_epoch(cache, "none") for size, cache in caches.items()},
            }
        )
    print(f"data path, {PHOTOS} {name}, one core, batches of {BATCH}")
    for way, ms in times.items():
        print(f"  {way:28} {ms:6.2f} ms a photo  {1000 / ms:8.0f} photos/s")
    base = times["reference at 512"]
    print(f"  ratio at 512 px: {base / times['ours at 512']:.1f} (bar 2.5)")
    print(
        f"  ratio at 256 px: {base / times['ours at 256']:.1f} against the reference as it is, at 512 px (bar 8), "
        f"{times['reference shrunk to 256'] / times['ours at 256']:.1f} against it shrunk to 256 px"
    )
    print(f"  all but augmentation at 512 px: {times['ours at 512, not augmented']:.2f} ms a photo (bar 0.2)")


if __name__ == "__main__":
    main()
