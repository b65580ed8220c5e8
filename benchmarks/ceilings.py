"""The highest val_miou that any model can reach at each training size: what shrinking truth and photos costs.

    python -m benchmarks.ceilings [--data DIR] [--json val.json] [--sizes 96 192 ...]

A perfect model says the training mask of every pixel. Its maps go the product's way to 256 x 256 and are scored there.
Beside it stand the two ways of a nearest pixel, whose class ids are enlarged by the nearest pixel: the first has masks
up to half a pixel beside their photos, at each size. The last line is json: the ceiling by training size.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.images.resampling import SCORE_SIZE, resize_mask, score_mask
from trainable.labelled_photos import draw_mask
from trainable.metric.confusion import confusion_matrices, mean_iou, resize_classes
from trainable.run_folder.out_of_fold import kept, scored_classes

SIZES = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640)
"""Pixels per side."""


def nearest(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)


def centred(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def product(masks: Tensor, sizes: NDArray[np.int64]) -> Tensor:
    certain = F.one_hot(masks.long().clamp(max=len(COMPETITION) - 1), len(COMPETITION)).permute(0, 3, 1, 2).float()
    return scored_classes(kept(certain, sizes), sizes)


def enlarged(masks: Tensor, sizes: NDArray[np.int64]) -> Tensor:
    return resize_classes(masks, SCORE_SIZE)


def ceiling(
    masks: list[NDArray[np.uint8]], size: int, shrink: Callable[..., NDArray[np.uint8]], grow: Callable[..., Tensor]
) -> float:
    """Return the mIoU of a model that says of each photo what its shrunk mask says."""
    total = torch.zeros(len(COMPETITION), len(COMPETITION), dtype=torch.int64)
    for mask in masks:
        said = grow(torch.from_numpy(shrink(mask, size))[None], np.array([mask.shape]))
        total += confusion_matrices(torch.from_numpy(score_mask(mask))[None], said, len(COMPETITION))[0]
    return mean_iou(total)


def main() -> None:
    default = Path(os.environ.get("TRASH_DATA", Path(__file__).parents[2] / "shared" / "data" / "trash"))
    parser = argparse.ArgumentParser("benchmarks.ceilings")
    parser.add_argument("--data", type=Path, default=default, metavar="DIR")
    parser.add_argument("--json", default="val.json", metavar="NAME", help="of the photos' annotations")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="PX")
    options = parser.parse_args()
    torch.set_num_threads(1)
    masks = [draw_mask(photo) for photo in read_training(options.data, [options.json]).photos]
    print(f"ceiling of val_miou on {len(masks)} photos of {options.json}")
    print("  px  most-covering class, linear   nearest pixel   nearest to the middle")
    ceilings = {}
    for size in options.sizes:
        ceilings[str(size)] = ceiling(masks, size, resize_mask, product)
        others = [ceiling(masks, size, shrink, enlarged) for shrink in (nearest, centred)]
        print(f"{size:4}  {ceilings[str(size)]:27.4f}   {others[0]:13.4f}   {others[1]:21.4f}", flush=True)
    print(json.dumps({size: round(value, 4) for size, value in ceilings.items()}))


if __name__ == "__main__":
    main()
