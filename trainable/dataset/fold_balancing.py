"""Evens out the sizes of folds: scenes change folds where a deal by labels alone has left one too large.

G scenes, k folds, L labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WITHIN = 1.2
"""The largest fold may have this many times the photos of the smallest."""

SIZE_WEIGHTS = (10.0, 1000.0, 1e6)
"""What the sizes of folds count for beside their labels, one after the other, until they are even enough."""

ROUNDING = 1e-10
"""Share of the sum of squares by which it must fall: less could be rounding, and go round in circles."""

SWAPPED = 300
"""Of more scenes than these only moves are tried: there are enough small ones among them."""


def even(sizes: Sequence[int] | NDArray[Any]) -> bool:
    """Tell whether sizes are within 20% of each other, or differ by one photo, which may be more of small folds."""
    return bool(max(sizes) <= max(WITHIN * min(sizes), min(sizes) + 1))


def balanced(
    fold_of: NDArray[np.int64], sizes: NDArray[np.int64], labels: NDArray[np.integer], count: int
) -> NDArray[np.int64]:
    """Return the fold of each scene, (G,), so that sizes are within 20% of each other where scenes allow it.

    Scenes are moved, or swapped in pairs, while the squared deviations of the folds' sizes and labels from their shares
    fall. The deviations of sizes count as little as suffices.

    Args:
        fold_of: (G,) to start from.
        sizes: (G,) photos of each scene.
        labels: (G, L) photos of each scene that have a label.
        count: folds.
    """
    shares = np.hstack([sizes[:, None], labels[:, labels.any(axis=0)]]).astype(np.float64)
    shares *= count / shares.sum(axis=0)
    candidates = []
    for weight in SIZE_WEIGHTS:
        scaled = shares * np.sqrt(np.r_[weight, np.full(shares.shape[1] - 1, 1 / (shares.shape[1] - 1))])
        fold_of = _improved(fold_of, scaled, count)
        candidates.append(fold_of)
        if even(np.bincount(fold_of, sizes, count)):
            break
    return min(candidates, key=lambda candidate: ratio(np.bincount(candidate, sizes, count)))


def ratio(sizes: NDArray[Any]) -> float:
    """Return how many times the photos of the smallest fold the largest has; infinite where one is empty."""
    return float(sizes.max() / sizes.min()) if sizes.min() else float("inf")


def _improved(fold_of: NDArray[np.int64], shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return folds from which no move or swap brings the sum of squares of the folds' shares (G, L) down."""
    fold_of = fold_of.copy()
    scenes = np.arange(len(shares))
    squares = (shares**2).sum(axis=1)
    gram = shares @ shares.T if len(shares) <= SWAPPED else None
    totals, beside = np.zeros((count, shares.shape[1])), np.zeros((len(shares), count))
    changed: Sequence[int] = range(count)
    while True:
        for fold in changed:
            totals[fold] = shares[fold_of == fold].sum(axis=0)
            beside[:, fold] = shares @ totals[fold]
        own = beside[scenes, fold_of]
        # A move from fold a to b changes the sum of squares by 2 (|x|^2 + x (b - a)).
        moves = squares[:, None] + beside - own[:, None]
        moves[scenes, fold_of] = 0.0
        least = moves.min()
        swap = None
        if gram is not None:
            # A swap moves the difference of the two: d = x - y of a and b.
            apart = squares[:, None] + squares - 2 * gram
            cross = beside[:, fold_of]  # (G, G) of scene x, the fold of y
            swaps = apart + cross - own[:, None] + cross.T - own
            swaps[fold_of[:, None] == fold_of] = 0.0
            if swaps.min() < least:
                least, swap = swaps.min(), np.unravel_index(int(swaps.argmin()), swaps.shape)
        if least >= -ROUNDING * (totals**2).sum():
            return fold_of
        if swap:
            changed = fold_of[list(swap)].tolist()
            fold_of[list(swap)] = changed[::-1]
        else:
            scene, fold = (int(index) for index in np.unravel_index(int(moves.argmin()), moves.shape))
            changed = [int(fold_of[scene]), fold]
            fold_of[scene] = fold
