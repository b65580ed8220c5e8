"""Views for test-time augmentation: a photo flipped, turned or at another scale, and its probabilities turned back."""

from dataclasses import dataclass

import torch
from torch import Tensor

MULTIPLE = 32
"""Pixels: sides that every architecture takes are multiples of it."""


@dataclass(frozen=True)
class View:
    """How a photo is shown to a network."""

    flipped: bool = False  # left to right, before it is turned
    turns: int = 0  # quarter turns
    scale: float = 1.0  # of the training size

    def size(self, trained: int) -> int:
        """Return the side in pixels at which a network trained at `trained` pixels sees the photo."""
        return trained if self.scale == 1 else max(round(trained * self.scale / MULTIPLE), 1) * MULTIPLE

    def cost(self, trained: int) -> float:
        """Return the time of a pass, by its pixels, in passes at the training size."""
        return (self.size(trained) / trained) ** 2

    def show(self, photos: Tensor) -> Tensor:
        """Return square photos (N, S, S, 3), at the view's size already, flipped and turned."""
        return torch.rot90(photos.flip(2) if self.flipped else photos, self.turns, (1, 2))

    def turn_back(self, probabilities: Tensor) -> Tensor:
        """Return probabilities (N, C, S, S) of what `show` gave as those of the photos."""
        upright = torch.rot90(probabilities, -self.turns, (2, 3))
        return upright.flip(3) if self.flipped else upright


PLAIN = "as it is"

VIEWS = {
    PLAIN: View(),
    "flipped": View(flipped=True),
    "upside down": View(flipped=True, turns=2),
    "turned left": View(turns=1),
    "turned round": View(turns=2),
    "turned right": View(turns=3),
    "at 0.75": View(scale=0.75),
    "at 1.25": View(scale=1.25),
    "at 1.5": View(scale=1.5),
}
"""By name, the photo as it is first."""
