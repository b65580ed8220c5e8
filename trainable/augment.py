"""Augmentation pipelines: they take and give a uint8 RGB image (H, W, 3) and its uint8 mask (H, W)."""

import os
from collections.abc import Callable
from typing import Any

# Its import asks PyPI for newer versions otherwise, which a cluster node or an offline laptop waits for.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from trainable.choices import build
from trainable.coco import IGNORE_INDEX
from trainable.config import Choice


def build_augmentation(choice: Choice) -> A.Compose:
    """Return the pipeline that `choice` names; seed it before use with `set_random_seed`.

    Raises:
        ValueError: an unknown pipeline or parameter.
    """
    # All sizes stay as they are: checking shapes at every photo costs more than a flip.
    return A.Compose(build("augmentation", choice, AUGMENTATIONS), is_check_shapes=False)


def none() -> list[Any]:
    """The photos as they are."""
    return []


def reference() -> list[Any]:
    """The reference recipe: flips, shift and scale, perspective, grey, brightness and gamma."""
    border: dict[str, Any] = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0, "fill_mask": IGNORE_INDEX}
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.25),
        A.Affine(translate_percent=(-0.1, 0.1), scale=(0.8, 1.25), p=0.5, **border),
        A.Perspective(scale=(0.03, 0.08), p=0.3, **border),
        A.ToGray(p=0.1),
        A.OneOf([A.RandomBrightnessContrast(p=1.0), A.RandomGamma(gamma_limit=(70, 140), p=1.0)], p=0.5),
    ]


AUGMENTATIONS: dict[str, Callable[..., list[Any]]] = {"none": none, "reference": reference}
