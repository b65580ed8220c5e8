"""DenseCRF over 8 photos: two processes against one, in turns.

python -m benchmarks.speed.crf
"""

import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import cv2
import numpy as np

from analysis.prediction.crf import available, refine_all

PHOTOS, SIDE, ROUNDS = 8, 256, 5
PARAMS = {"near": 3, "alike": 40, "colour": 10, "smooth_weight": 2, "colour_weight": 5, "iterations": 5}


def inputs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    sharp = [rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(PHOTOS)]
    photos = [np.asarray(cv2.GaussianBlur(photo, (0, 0), 3), np.uint8) for photo in sharp]
    noise = [rng.normal(size=(SIDE, SIDE, 11)).astype(np.float32) for _ in range(PHOTOS)]
    smooth = [np.exp(30 * cv2.GaussianBlur(photo_noise, (0, 0), 8)).transpose(2, 0, 1) for photo_noise in noise]
    return [(scores / scores.sum(0) * 255).astype(np.uint8) for scores in smooth], photos


def main() -> None:
    if not available():
        print("pydensecrf2 is not there on this Python: nothing to measure")
        return
    maps, photos = inputs()

    def seconds(executor: Executor) -> float:
        start = time.perf_counter()
        list(refine_all(executor, maps, photos, PARAMS))
        return time.perf_counter() - start

    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as two,
    ):
        seconds(one), seconds(two)  # starts them
        turns = [(seconds(one), seconds(two)) for _ in range(ROUNDS)]
    single, double = (median(times) for times in zip(*turns, strict=True))
    print(
        f"DenseCRF, {PHOTOS} photos at {SIDE} px, {PARAMS['iterations']} iterations: one process {single:.2f} s, "
        f"two {double:.2f} s: {single / double:.2f}x (bar 1.6x)"
    )


if __name__ == "__main__":
    main()
