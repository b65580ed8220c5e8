"""The validation metric against numpy bincounts by photo, one CPU thread: python -m benchmarks.speed.metric. Bar: 3x.

Both start from what each way has at that point: int64 class indices of the prediction, and the mask as int64 (the
common way, as its loss takes it) or as uint8 (ours, from the cache).
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.speed.turns import median_seconds
from trainable.classes import COMPETITION
from trainable.metric.confusion import confusion_matrices

C = len(COMPETITION)


def per_sample(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The common way: mask the valid pixels of each photo, count pairs, add up."""
    total = np.zeros((C, C), np.int64)
    for true, predicted in zip(truth, prediction, strict=True):
        valid = (true >= 0) & (true < C)
        pairs = C * true[valid].astype(int) + predicted[valid]
        total += np.bincount(pairs, minlength=C**2).reshape(C, C)
    return total


def main(rounds: int = 15) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print("confusion matrices of 8 photos, one thread, median of interleaved rounds")
    for size in (256, 512):
        # Large patches of one class, as masks have them.
        truth = rng.integers(0, C, (8, size // 32, size // 32)).repeat(32, 1).repeat(32, 2).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, C, truth.shape)).astype(np.uint8)
        prediction = prediction.astype(np.int64)
        tensors = torch.from_numpy(truth), torch.from_numpy(prediction)
        truth = truth.astype(np.int64)
        assert (confusion_matrices(*tensors, C).sum(0).numpy() == per_sample(truth, prediction)).all()
        ways: dict[str, Callable[[], object]] = {
            "per sample": lambda t=truth, p=prediction: per_sample(t, p),  # type: ignore[misc]
            "ours": lambda t=tensors: confusion_matrices(t[0], t[1], C),  # type: ignore[misc]
        }
        theirs, ours = (1000 * seconds for seconds in median_seconds(ways, rounds).values())
        print(f"  {size} px: per sample {theirs:6.2f} ms  ours {ours:6.2f} ms  ratio {theirs / ours:.1f} (bar 3)")


if __name__ == "__main__":
    main()
