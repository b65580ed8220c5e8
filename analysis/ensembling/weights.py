"""Weights of the members of an ensemble, fitted on sampled out-of-fold pixels (see `analysis/pool/pixel_samples.py`).

M members, C classes, P pixels; weights (M, C) are not negative and sum to 1 over the members for each class.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.pool.pixel_samples import Samples

PICKS = 12
"""Of a greedy selection; 255 times it has 12 bits, so that with at most 16 classes a sum and a class have 16."""

BAGS = 4
FEW = 5
SINGLE = "best single"
STEPS = 60

Weights = NDArray[np.float64]


def fit_weights(samples: Samples, seed: int = 0) -> dict[str, Weights]:
    """Return the weights that each way of fitting them finds: on the best single member, equal on the few best, ..."""
    members = len(samples.values)
    ious = np.array([_class_iou(_confusion(samples, probabilities.argmax(0))) for probabilities in samples.values])
    ranked = np.argsort(-np.nanmean(ious, 1), kind="stable")
    picked, classes = greedy(samples, seed), samples.values.shape[1]
    return {
        SINGLE: _even(np.eye(members)[ranked[0]], classes),
        "equal": _even(np.isin(np.arange(members), ranked[:FEW]).astype(float), classes),
        "greedy": _even(picked, classes),
        "fitted": _even(fitted(samples, picked), classes),
        "class weighted": class_weighted(ious, picked),
    }


def greedy(samples: Samples, seed: int = 0) -> NDArray[np.float64]:
    """Return weights (M,) by bagged greedy selection with replacement. Source: Caruana et al. 2004.

    Each bag has half of the photos at random, so that no photo's accident decides; a bag's selection is as long as was
    best on it. The weights are the means of the bags' counts. (Bags of half of the members, as in the source, leave a
    member that is far better than the others out of half of them.)
    """
    rng = np.random.default_rng(seed)
    photos = len(samples.agreed)
    bags = [rng.permutation(photos) < (photos + 1) // 2 for _ in range(BAGS)]
    return np.mean([_greedy(samples.of(bag)) for bag in bags], axis=0)


def fitted(samples: Samples, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights (M,) that maximise a soft mIoU, from `start` on and on its members alone.

    The soft mIoU takes probabilities for hits: Rahman and Wang 2016.
    """
    chosen = np.flatnonzero(start)
    values = torch.from_numpy(samples.values[chosen].astype(np.float32) / 255)
    truth = torch.from_numpy(samples.truth.astype(np.int64))
    weight = torch.from_numpy(samples.weight)
    agreed = torch.from_numpy(samples.agreed.sum(0)).float()
    logits = torch.from_numpy(np.log(start[chosen])).float().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        mixed = torch.einsum("m,mcp->cp", logits.softmax(0), values) * weight
        confusion = agreed + torch.zeros_like(agreed).index_add(0, truth, mixed.T)
        hits = confusion.diagonal()
        union = confusion.sum(0) + confusion.sum(1) - hits
        loss = -(hits / union.clamp(min=1e-6))[union > 0].mean()
        loss.backward()
        optimizer.step()
    result = np.zeros(len(start))
    result[chosen] = logits.detach().softmax(0).double().numpy()
    return result


def class_weighted(ious: NDArray[np.float64], start: NDArray[np.float64]) -> Weights:
    """Return `start` times each member's IoU of each class (M, C): who knows a class has more of a say in it."""
    weights = start[:, None] * np.nan_to_num(ious)
    total = weights.sum(0)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), start[:, None])


def _greedy(samples: Samples) -> NDArray[np.float64]:
    """Return how often each member was picked, as shares, (M,)."""
    count, pixels = samples.values.shape[1:]
    bits = (count - 1).bit_length()  # that hold a class index
    kind = np.dtype(np.uint16 if bits <= 4 else np.uint32)
    shifted = np.left_shift(samples.values, bits, dtype=kind)
    truth = samples.truth.astype(np.int64) << bits
    agreed = samples.agreed.sum(0)
    # The lowest bits hold the class, the first one largest, so that a maximum over sums tells its class.
    total = np.repeat((count - 1 - np.arange(count, dtype=kind))[:, None], pixels, axis=1)
    candidate, best = np.empty_like(total), np.empty(pixels, kind)
    picks: list[int] = []
    scores: list[float] = []
    for _ in range(PICKS):
        mious = []
        for member in shifted:
            np.add(total, member, out=candidate)
            np.maximum.reduce(candidate, axis=0, out=best)
            classes = count - 1 - (best & (2**bits - 1)).astype(np.int64)
            counts = np.bincount(truth | classes, samples.weight, 1 << 2 * bits)
            mious.append(_miou(counts.reshape(1 << bits, 1 << bits)[:count, :count] + agreed))
        picks.append(int(np.argmax(mious)))
        scores.append(max(mious))
        total += shifted[picks[-1]]
    counts = np.bincount(picks[: int(np.argmax(scores)) + 1], minlength=len(samples.values))
    return counts / counts.sum()


def sampled_miou(samples: Samples, members: Sequence[int], factors: NDArray[np.float32] | None = None) -> float:
    """Return the mIoU, on the samples, of some members' mean, its classes' probabilities times factors (C,)."""
    total = samples.values[list(members)].sum(0, dtype=np.uint16)
    return _miou(_confusion(samples, (total if factors is None else total * factors[:, None]).argmax(0)))


def _confusion(samples: Samples, classes: NDArray[np.integer]) -> NDArray[np.float64]:
    count = samples.values.shape[1]
    counts = np.bincount(samples.truth.astype(np.int64) * count + classes, samples.weight, count**2)
    return counts.reshape(count, count) + samples.agreed.sum(0)


def _class_iou(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    hits = np.diagonal(confusion)
    with np.errstate(invalid="ignore"):
        return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def _miou(confusion: NDArray[np.float64]) -> float:
    return float(np.nanmean(_class_iou(confusion)))


def _even(weights: NDArray[np.float64], classes: int) -> Weights:
    """Return weights (M,) as those of every class, (M, C)."""
    return np.repeat((weights / weights.sum())[:, None], classes, axis=1)
