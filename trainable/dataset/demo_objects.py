"""The objects of the demo scenes, one function per class: an outline, a picture and how opaque it is."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Pixels per side of an object's picture, which covers the square from -1 to 1 of its outline."""

Outline = NDArray[np.float64]
Picture = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One object before it is placed."""

    outline: Outline  # (P, 2), within -1 to 1
    picture: Picture  # (SIDE, SIDE, 3), 0 to 255
    size: float  # share of the photo's side
    opacity: float = 1.0


def general_trash(rng: np.random.Generator) -> Layer:
    """Crumpled leftovers: a jagged blob of patches in mixed colours."""
    patches = rng.integers(20, 235, (6, 6, 3)).astype(float)
    picture = cv2.resize(patches, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) * _folds(rng, 9)
    return Layer(_blob(rng, 14, 0.35), picture, rng.uniform(0.16, 0.32))


def paper(rng: np.random.Generator) -> Layer:
    """A white or cream sheet with lines of print."""
    picture = _plain(np.array([238, 234, 222]) - rng.uniform(0, 25))
    for row in range(8, SIDE - 8, 6):
        picture[row : row + 2, 6 : int(rng.uniform(35, SIDE - 5))] *= 0.55
    return Layer(_box(rng.uniform(0.65, 1.0), 0.06, rng), picture * _folds(rng, 2), rng.uniform(0.3, 0.5))


def paper_pack(rng: np.random.Generator) -> Layer:
    """A drink carton: a box with a gabled top and a two-coloured print."""
    picture = _plain(rng.uniform(60, 240, 3))
    picture[: int(rng.uniform(18, 40))] = rng.uniform(60, 240, 3)
    cv2.circle(picture, (SIDE // 2, 44), 9, rng.uniform(30, 250, 3).tolist(), -1)
    outline = np.array([[-0.5, 1], [-0.5, -0.5], [-0.2, -1], [0.2, -1], [0.5, -0.5], [0.5, 1]])
    return Layer(outline, picture, rng.uniform(0.3, 0.45))


def metal(rng: np.random.Generator) -> Layer:
    """A can: a rounded box with the bright and dark bands of a shiny cylinder."""
    bands = 135 + 105 * np.cos(np.linspace(-1, 1, SIDE) * rng.uniform(6, 9) + rng.uniform(-1, 1))
    picture = np.repeat(np.repeat(bands[None, :, None], SIDE, 0), 3, 2)
    if rng.random() < 0.6:
        picture[16:48] = picture[16:48] * 0.5 + rng.uniform(20, 220, 3) * 0.5
    return Layer(_rounded(0.55), picture, rng.uniform(0.22, 0.36))


def glass(rng: np.random.Generator) -> Layer:
    """A translucent green, brown or clear bottle with one hard highlight."""
    picture = _plain([(40, 95, 50), (100, 62, 25), (190, 205, 200)][rng.integers(3)])
    picture[:, 24:28] = 245
    return Layer(_bottle(0.42), picture, rng.uniform(0.35, 0.5), rng.uniform(0.6, 0.75))


def plastic(rng: np.random.Generator) -> Layer:
    """A clear, ribbed bottle with a coloured cap and label."""
    picture = _plain(np.array([185, 205, 225]) - rng.uniform(0, 40))
    picture[::8] *= 0.75
    picture[:9] = rng.uniform(0, 255, 3)
    picture[30:44] = rng.uniform(0, 255, 3)
    return Layer(_bottle(0.5), picture, rng.uniform(0.32, 0.48), rng.uniform(0.7, 0.9))


def styrofoam(rng: np.random.Generator) -> Layer:
    """A thick white piece with a grain of beads."""
    grain = cv2.resize(rng.random((22, 22)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = _plain([246, 246, 248]) * (0.8 + 0.25 * grain[:, :, None])
    return Layer(_box(rng.uniform(0.4, 0.8), 0.18, rng), picture, rng.uniform(0.26, 0.42))


def plastic_bag(rng: np.random.Generator) -> Layer:
    """A large soft shape in any colour, a bit translucent, full of creases."""
    colour = [(235, 235, 238), (40, 42, 46), tuple(rng.uniform(40, 240, 3))][rng.integers(3)]
    picture = _plain(colour) * _folds(rng, 14)
    return Layer(_blob(rng, 9, 0.18), picture, rng.uniform(0.38, 0.65), rng.uniform(0.75, 0.95))


def battery(rng: np.random.Generator) -> Layer:
    """A small two-coloured cylinder."""
    picture = _plain([35, 35, 38])
    picture[: rng.integers(18, 30)] = (200, 130, 60) if rng.random() < 0.6 else (205, 205, 210)
    return Layer(_rounded(0.36), picture, rng.uniform(0.14, 0.22))


def clothing(rng: np.random.Generator) -> Layer:
    """A crumpled piece of checked or striped cloth."""
    step = rng.integers(4, 9)
    weave = (np.arange(SIDE) // step % 2).astype(float)
    pattern = weave[:, None] + (weave[None, :] if rng.random() < 0.5 else 0)
    picture = rng.uniform(20, 200, 3) + pattern[:, :, None] * rng.uniform(-60, 60, 3)
    return Layer(_blob(rng, 7, 0.22), picture * _folds(rng, 4), rng.uniform(0.36, 0.6))


OBJECTS: dict[str, Callable[[np.random.Generator], Layer]] = {
    "General trash": general_trash,
    "Paper": paper,
    "Paper pack": paper_pack,
    "Metal": metal,
    "Glass": glass,
    "Plastic": plastic,
    "Styrofoam": styrofoam,
    "Plastic bag": plastic_bag,
    "Battery": battery,
    "Clothing": clothing,
}


def _plain(colour: object) -> Picture:
    return np.ones((SIDE, SIDE, 3)) * np.asarray(colour, float)


def _folds(rng: np.random.Generator, cells: int) -> Picture:
    """Light and shade of creases, around 1."""
    height = cv2.resize(rng.random((cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    slope = np.gradient(height, axis=1) + np.gradient(height, axis=0)
    return (1 + 0.25 * slope / (np.abs(slope).max() + 1e-9) + rng.uniform(-0.05, 0.05))[:, :, None]


def _blob(rng: np.random.Generator, points: int, jag: float) -> Outline:
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False) + rng.uniform(-0.1, 0.1, points)
    radius = 1 - jag * rng.random(points)
    flat = rng.uniform(0.6, 1.0)
    return np.c_[np.cos(angles) * radius, np.sin(angles) * radius * flat]


def _box(aspect: float, jitter: float, rng: np.random.Generator) -> Outline:
    corners = np.array([[-1, -aspect], [1, -aspect], [1, aspect], [-1, aspect]])
    return (corners + rng.uniform(-jitter, jitter, (4, 2))).clip(-1, 1)


def _rounded(half_width: float) -> Outline:
    """An upright cylinder seen from the side: straight sides, curved ends."""
    bend = np.linspace(0, np.pi, 7)
    top = np.c_[-np.cos(bend) * half_width, -0.85 - 0.15 * np.sin(bend)]
    return np.r_[top, -top]


def _bottle(half_width: float) -> Outline:
    right = np.array([[0.14, -1], [0.14, -0.6], [half_width, -0.3], [half_width, 0.95], [half_width - 0.08, 1]])
    return np.r_[right, right[::-1] * [-1, 1]]
