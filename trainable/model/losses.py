"""The losses a trial can train with.

All take logits (N, C, H, W) and class indices (N, H, W), leave out pixels of IGNORE_INDEX and return the mean, 0 where
no pixel is left: none expects a softmax in the model. None reads a value back from a GPU, which would hold up the
launches of the backward pass: what depends on the pixels is masked, not branched on or picked by a boolean index.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import segmentation_models_pytorch.losses as smp_losses
import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.builders import build
from trainable.classes import IGNORE_INDEX
from trainable.config import Choice
from trainable.parameter_ranges import check_loss

Loss = Callable[[Tensor, Tensor], Tensor]

MAX_WEIGHT = 50.0
"""Largest class weight relative to the smallest: a class of 0.001% of all pixels would drown the others otherwise."""


SMP: dict[str, Any] = {
    "mode": "multiclass",
    "ignore_index": IGNORE_INDEX,
    "classes": None,
    "log_loss": False,
    "from_logits": True,
    "smooth": 0.0,
    "eps": 1e-7,
}
"""What SMP's losses over regions have in common here; given, so that no default of the library's decides."""


@dataclass(frozen=True)
class ClassCounts:
    """How much of each class the training photos hold: (C,) pixels and (C,) photos."""

    pixels: Tensor
    photos: Tensor


def build_loss(choice: Choice, counts: ClassCounts) -> Loss:
    """Return the loss that `choice` names; `counts` are those of the fold's training photos.

    Raises:
        ValueError: an unknown loss or parameter, or a value out of range.
    """
    check_loss(choice)
    return build("loss", choice, LOSSES, counts=counts)


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean over pixels; the smoothed target is (1 - s) on the class and s / C on all."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        mean = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, label_smoothing=label_smoothing)
        return _or_zero(mean, target)

    return loss


def weighted_cross_entropy(counts: ClassCounts, scheme: str = "median_frequency", label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy with a weight per class, see `class_weights`."""
    weights = class_weights(counts, scheme)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        nonlocal weights
        weights = weights.to(logits)  # kept there: a copy to a GPU waits for all that was launched before it
        mean = F.cross_entropy(logits, target, weights, ignore_index=IGNORE_INDEX, label_smoothing=label_smoothing)
        return _or_zero(mean, target)

    return loss


def focal(gamma: float = 2.0) -> Loss:
    """Multi-class focal loss, mean of -(1 - p)^gamma log p. Source: Lin et al. 2017, without alpha."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        negative_log_p = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
        focused = (1 - torch.exp(-negative_log_p)).clamp(min=0) ** gamma * negative_log_p
        return focused.sum() / (target != IGNORE_INDEX).sum().clamp(min=1)

    return loss


def dice() -> Loss:
    """Mean of 1 - Dice over all classes, 0 for those that are not in the batch."""
    return smp_losses.DiceLoss(**SMP)


def jaccard() -> Loss:
    """Mean of 1 - IoU over all classes, 0 for those that are not in the batch."""
    return smp_losses.JaccardLoss(**SMP)


def lovasz() -> Loss:
    """Lovász-softmax over the classes in the batch. Source: Berman et al. 2018, algorithm 1.

    SMP's asks the device of each class whether it is there, and picks the labelled pixels by a boolean index.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        probabilities = logits.softmax(1).transpose(0, 1).flatten(1)  # (C, P)
        labels = target.flatten()
        labelled = labels != IGNORE_INDEX
        rank = torch.arange(1, len(labels) + 1, device=labels.device)
        total, classes = probabilities[:, :0].sum(), logits.new_zeros(())  # 0, from which a gradient can be asked
        for index, probability in enumerate(probabilities):
            of_class = labels == index
            if _may_look(target) and not of_class.any():
                continue
            # Unlabelled pixels have no error, so they come last, where nothing is added to the sum.
            errors, order = ((of_class.to(probability.dtype) - probability).abs() * labelled).sort(descending=True)
            found = of_class[order].cumsum(0, dtype=torch.int32)  # whole numbers: exact, and the same in any order
            missing = found[-1] - found
            iou = missing / (rank + missing)  # if the pixels up to this one were wrong and all others right
            there = of_class.any()
            total = total - (errors * torch.diff(iou, prepend=iou.new_ones(1))).sum() * there
            classes = classes + there
        return total / classes.clamp(min=1)

    return loss


def tversky(alpha: float = 0.5, beta: float = 0.5) -> Loss:
    """Mean of 1 - TP / (TP + alpha FP + beta FN); 0.5 and 0.5 is Dice, a larger beta favours recall."""
    return smp_losses.TverskyLoss(**SMP, alpha=alpha, beta=beta, gamma=1.0)


def focal_tversky(alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75) -> Loss:
    """Mean over all classes of (1 - Tversky)^gamma. Source: Abraham and Khan 2019 (gamma 1 / 1.33)."""
    return _FocalTversky(**SMP, alpha=alpha, beta=beta, gamma=gamma)


def ohem_cross_entropy(threshold: float = 0.7, share: float = 0.25) -> Loss:
    """Cross-entropy of the hard pixels: online hard example mining, and with threshold 0 top-k cross-entropy.

    Args:
        threshold: a pixel is hard where its true class has a lower probability.
        share: of the pixels that count at least, the hardest ones. Source: Shrivastava et al. 2016.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        pixel_losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none").flatten()
        with torch.no_grad():
            valid = (target != IGNORE_INDEX).sum()
            least = (share * valid.double()).ceil()  # double, as Python's is: a float may be one pixel off
            # As many as there would be were all labelled. Unlabelled ones have the loss 0: no others are lower.
            most, looks = math.ceil(share * len(pixel_losses)), _may_look(target)
            hardest = pixel_losses.topk(int(least) if looks else most, sorted=not looks).indices
            first = torch.arange(len(hardest), device=hardest.device) < least
            kept = torch.zeros_like(pixel_losses, dtype=torch.bool).scatter_(0, hardest, first)
            if threshold:
                kept |= pixel_losses > -math.log(threshold)
        return pixel_losses.where(kept, 0).sum() / kept.sum().clamp(min=1)

    return loss


def boundary_cross_entropy(weight: float = 2.0, width: int = 2) -> Loss:
    """Cross-entropy in which pixels within `width` pixels of another class count 1 + weight times.

    Source: the border weights of Ronneberger et al. 2015, as a band instead of a distance.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        pixel_losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
        valid = (target != IGNORE_INDEX).unsqueeze(1)
        classes = target.unsqueeze(1).to(logits.dtype)
        # An ignored pixel is neither the highest nor the lowest class of its neighbourhood.
        highest = F.max_pool2d(classes.where(valid, -1), 2 * width + 1, stride=1, padding=width)
        lowest = -F.max_pool2d((-classes).where(valid, -IGNORE_INDEX), 2 * width + 1, stride=1, padding=width)
        weights = ((1 + weight * (highest != lowest)) * valid).squeeze(1)
        return (weights * pixel_losses).sum() / weights.sum().clamp(min=1)

    return loss


def ce_dice(weight: float = 0.5) -> Loss:
    """(1 - weight) cross-entropy + weight Dice."""
    return _blend(cross_entropy(), dice(), weight)


def focal_dice(weight: float = 0.5, gamma: float = 2.0) -> Loss:
    """(1 - weight) focal + weight Dice."""
    return _blend(focal(gamma), dice(), weight)


def ce_lovasz(weight: float = 0.5) -> Loss:
    """(1 - weight) cross-entropy + weight Lovász."""
    return _blend(cross_entropy(), lovasz(), weight)


LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": weighted_cross_entropy,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "lovasz": lovasz,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "ohem_cross_entropy": ohem_cross_entropy,
    "boundary_cross_entropy": boundary_cross_entropy,
    "ce_dice": ce_dice,
    "focal_dice": focal_dice,
    "ce_lovasz": ce_lovasz,
}

SCHEMES: dict[str, Callable[[ClassCounts], Tensor]] = {
    # 1 / frequency
    "inverse": lambda counts: 1 / counts.pixels.clamp(min=1),
    # median of the per-photo frequencies / frequency where the class appears: Eigen and Fergus 2015
    "median_frequency": lambda counts: counts.photos / counts.pixels.clamp(min=1),
    # (1 - b) / (1 - b^n) over the n photos that hold the class, b = 1 - 1 / N: Cui et al. 2019
    "effective_number": lambda counts: 1 / (1 - (1 - 1 / counts.photos.max()) ** counts.photos.clamp(min=1)),
}


def class_weights(counts: ClassCounts, scheme: str) -> Tensor:
    """Return a weight per class, (C,), with mean 1 over the classes present and 0 for those absent.

    Raises:
        ValueError: an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown class weights {scheme!r}; known are {', '.join(SCHEMES)}")
    present = counts.pixels > 0
    weights = SCHEMES[scheme](ClassCounts(counts.pixels.double(), counts.photos.double()))
    weights = weights.clamp(max=MAX_WEIGHT * weights[present].min()) * present
    return (weights / weights[present].mean()).float()


def _or_zero(mean: Tensor, target: Tensor) -> Tensor:
    """Return a mean over labelled pixels, or 0 for its 0 / 0: a choice on the device, which waits for no copy."""
    return torch.where((target != IGNORE_INDEX).any(), mean, mean.new_zeros(()))


def _may_look(tensor: Tensor) -> bool:
    """Tell whether a value may be read, to do less: on a CPU it costs nothing, on a GPU it waits for all that runs."""
    return tensor.device.type == "cpu"


class _FocalTversky(smp_losses.TverskyLoss):
    """SMP raises the mean over the classes to gamma; the source each class."""

    def aggregate_loss(self, loss: Tensor) -> Tensor:
        # A class that is not there has the loss 0, where a power below 1 has no finite slope.
        return (loss.clamp(min=1e-6) ** self.gamma).mean()


def _blend(first: Loss, second: Loss, weight: float) -> Loss:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return (1 - weight) * first(logits, target) + weight * second(logits, target)

    return loss
