"""Augmentation pipelines: they take and give a uint8 RGB image (H, W, 3) and its uint8 mask (H, W)."""

import os
from collections.abc import Callable
from typing import Any

# Its import asks PyPI for newer versions otherwise, which a cluster node or an offline laptop waits for.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from pydantic import Field

from trainable.builders import build
from trainable.classes import COMPETITION, IGNORE_INDEX, Classes
from trainable.config import Choice
from trainable.geometry import Shape
from trainable.images.resampling import mirrored_mask


def build_augmentation(
    choice: Choice, operations: list[Choice], shape: Shape, classes: Classes = COMPETITION
) -> A.Compose:
    """Return the base pipeline that `choice` names with further operations after it, for photos of a height and width.

    It is to be seeded before use, with `set_random_seed`.

    Raises:
        ValueError: an unknown pipeline, operation or parameter, or a value out of range.
    """
    try:
        steps = build("augmentation", choice, AUGMENTATIONS, shape=shape, classes=classes)
        steps = steps + [build("operation", operation, OPERATIONS, shape=shape) for operation in operations]
    except ValueError as error:
        if "validation error" not in str(error):
            raise
        why = str(error).partition("\n")[2].partition("[type=")[0]  # of several lines with links
        raise ValueError(f"augmentation out of range: {' '.join(why.split())}") from error
    # All sizes stay as they are: checking shapes at every photo costs more than a flip.
    return A.Compose(steps, is_check_shapes=False)


BORDER: dict[str, Any] = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0, "fill_mask": IGNORE_INDEX}
"""What comes in from outside a photo is black, and ignored."""


CELLS, LEAST_CELL = 10, 10
"""Cells of `grid_dropout` a side, and their least pixels, as holes are of whole pixels."""

RESIZED: dict[str, Any] = {"mask_interpolation": cv2.INTER_NEAREST_EXACT}
"""How a mask is resized with its photo: OpenCV's plain nearest pixel lies half a pixel off. Warps are not affected."""


def none() -> list[Any]:
    """The photos as they are."""
    return []


class _Sides:
    """Of a flip: gives the pixels of each class to the one that it is in a mirror, as left becomes right."""

    def __init__(self, mirrored: tuple[int, ...] = (), p: float = 0.5):
        super().__init__(p=p)  # type: ignore[call-arg]  # of the flip
        self.mirrored = mirrored

    def apply_to_mask(self, mask: Any, *args: Any, **params: Any) -> Any:
        """Flip a mask and change the sides' names."""
        flipped = super().apply_to_mask(mask, *args, **params)  # type: ignore[misc]  # of the flip
        return mirrored_mask(flipped, self.mirrored)


class HorizontalMirror(_Sides, A.HorizontalFlip):
    """A flip left to right that changes sides."""


class VerticalMirror(_Sides, A.VerticalFlip):
    """A flip upside down, which is a mirror too."""


def flip(classes: Classes, horizontal: float, vertical: float = 0.0) -> list[Any]:
    """Flips with their chances; none where a mirrored photo is none of this world."""
    if not classes.may_mirror:
        return []
    if not classes.mirror:
        return [A.HorizontalFlip(p=horizontal), *([A.VerticalFlip(p=vertical)] if vertical else [])]
    mirrored = classes.mirrored
    return [HorizontalMirror(mirrored, horizontal), *([VerticalMirror(mirrored, vertical)] if vertical else [])]


def reference(classes: Classes = COMPETITION, flips: bool = True) -> list[Any]:
    """The reference recipe: flips, shift and scale, perspective, grey, brightness and gamma."""
    return [
        *(flip(classes, 0.5, 0.25) if flips else []),
        A.Affine(translate_percent=(-0.1, 0.1), scale=(0.8, 1.25), p=0.5, **BORDER),
        A.Perspective(scale=(0.03, 0.08), p=0.3, **BORDER),
        A.ToGray(p=0.1),
        A.OneOf([A.RandomBrightnessContrast(p=1.0), A.RandomGamma(gamma_limit=(70, 140), p=1.0)], p=0.5),
    ]


def light(classes: Classes = COMPETITION, flips: bool = True) -> list[Any]:
    """A flip and a little brightness and contrast."""
    return [
        *(flip(classes, 0.5) if flips else []),
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
    ]


def heavy(shape: Shape, classes: Classes = COMPETITION, flips: bool = True) -> list[Any]:
    """The reference with crops, warps, blur, colour and holes, as long trainings stand it."""
    return [
        *reference(classes, flips),
        random_resized_crop(shape, p=0.5),
        A.OneOf([elastic(p=1.0), grid_distortion(p=1.0)], p=0.3),
        A.OneOf([blur(p=1.0), clahe(p=1.0)], p=0.2),
        colour(p=0.3),
        grid_dropout(shape, p=0.2),
    ]


AUGMENTATIONS: dict[str, Callable[..., list[Any]]] = {
    "none": none,
    "light": light,
    "reference": reference,
    "heavy": heavy,
}


def random_resized_crop(shape: Shape, p: float = 0.5, smallest: float = 0.4) -> Any:
    """A crop of at least `smallest` of the photo's area, brought back to its size."""
    wide = shape[1] / shape[0]
    return A.RandomResizedCrop(shape, scale=(smallest, 1.0), ratio=(0.75 * wide, 1.33 * wide), p=p, **RESIZED)


def multi_scale(shape: Shape, p: float = 0.5, low: float = 0.5, high: float = 1.5) -> Any:
    """The photo at `low` to `high` of its scale, padded or cropped back to its size at a random spot."""
    pad = A.PadIfNeeded(*shape, position="random", **BORDER)
    return A.Sequential([A.RandomScale((low - 1, high - 1), p=1.0, **RESIZED), pad, A.RandomCrop(*shape)], p=p)


def elastic(p: float = 0.3, strength: float = 0.15) -> Any:
    """Smooth random shifts, the largest of a photo about half of `strength` of the side. Source: Simard et al. 2003."""
    return ElasticGrid(shift=0.4 * strength, p=p, **BORDER)


class ElasticGrid(BaseDistortion):
    """Random shifts of a few points, with a smooth surface through them: the same warp at every photo size.

    `A.ElasticTransform` smooths over at most 17 px when it is quick, and takes ever longer when it is not: with shifts
    that grow with the photo that folds a quarter of it over at 256 px.
    """

    POINTS = 6
    """A side. A seventh folds twice as many pixels over at the strongest that spaces ask for."""

    class InitSchema(BaseDistortion.InitSchema):
        """How parameters are checked."""

        shift: float = Field(ge=0, le=1)

    def __init__(
        self,
        shift: float = 0.06,
        interpolation: int = cv2.INTER_LINEAR,
        mask_interpolation: int = cv2.INTER_NEAREST,
        keypoint_remapping_method: str = "mask",
        p: float = 0.5,
        border_mode: int = cv2.BORDER_CONSTANT,
        fill: float = 0,
        fill_mask: float = 0,
    ):
        """`shift` is the largest of a point, as a share of the photo's side; all else is albumentations'."""
        super().__init__(
            interpolation=interpolation,
            mask_interpolation=mask_interpolation,
            p=p,
            border_mode=border_mode,
            keypoint_remapping_method=keypoint_remapping_method,
            fill=fill,
            fill_mask=fill_mask,
        )
        self.shift = shift

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw where each pixel is taken from."""
        height, width = params["shape"][:2]
        points = self.random_generator.uniform(-1, 1, (self.POINTS, self.POINTS, 2)).astype(np.float32)
        shifts = cv2.resize(points * self.shift, (width, height), interpolation=cv2.INTER_CUBIC)
        columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        return {"map_x": columns + width * shifts[..., 0], "map_y": rows[:, None] + height * shifts[..., 1]}


def grid_distortion(p: float = 0.3, limit: float = 0.3) -> Any:
    """A 5 x 5 grid whose lines move by up to `limit` of a cell."""
    return A.GridDistortion(num_steps=5, distort_limit=limit, p=p, **BORDER)


def grid_dropout(shape: Shape, p: float = 0.3, ratio: float = 0.4) -> Any:
    """A grid of black holes with `ratio` of a cell's side; the truth under them stays. Source: Chen et al. 2020."""
    cells = max(min(CELLS, min(shape) // LEAST_CELL), 1)
    return A.GridDropout(ratio=ratio, random_offset=True, holes_number_xy=(cells, cells), p=p)


def grid_shuffle(p: float = 0.3, cells: int = 3) -> Any:
    """The photo's `cells` x `cells` parts in another order."""
    return A.RandomGridShuffle(grid=(cells, cells), p=p)


def blur(p: float = 0.2, sigma: float = 2.0) -> Any:
    """Gaussian blur of up to `sigma` pixels, or a motion of as many."""
    motion = 2 * round(sigma) + 1
    return A.OneOf([A.GaussianBlur(sigma_limit=(0.3, sigma), p=1.0), A.MotionBlur((3, max(motion, 3)), p=1.0)], p=p)


def colour(p: float = 0.3, strength: float = 0.3) -> Any:
    """Brightness, contrast and saturation by up to `strength`, the hue by a sixth of it."""
    return A.ColorJitter(strength, strength, strength, strength / 6, p=p)


def clahe(p: float = 0.2, clip: float = 4.0) -> Any:
    """Histogram equalisation by tiles, contrast limited to `clip`. Source: Zuiderveld 1994."""
    return A.CLAHE(clip_limit=(1.0, clip), p=p)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "random_resized_crop": random_resized_crop,
    "multi_scale": multi_scale,
    "elastic": elastic,
    "grid_distortion": grid_distortion,
    "grid_dropout": grid_dropout,
    "grid_shuffle": grid_shuffle,
    "blur": blur,
    "colour": colour,
    "clahe": clahe,
}
