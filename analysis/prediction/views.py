"""Views for test-time augmentation: a photo flipped, turned or at another scale, and its probabilities turned back.

N photos in frames of H x W, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.geometry import Shape

MULTIPLE = 32
"""Pixels: sides that every architecture takes are multiples of it."""


@dataclass(frozen=True)
class View:
    """How a photo is shown to a network."""

    flipped: bool = False  # left to right, before it is turned: it shows a mirrored world
    turns: int = 0  # quarter turns
    scale: float = 1.0  # of the training size

    def size(self, trained: int) -> int:
        """Return the longer side of the frame in which a network trained at `trained` pixels sees photos, in pixels."""
        return trained if self.scale == 1 else max(round(trained * self.scale / MULTIPLE), 1) * MULTIPLE

    def cost(self, trained: int) -> float:
        """Return the time of a pass, by its pixels, in passes at the training size."""
        return (self.size(trained) / trained) ** 2

    def seen(self, frame: Shape) -> Shape:
        """Return the height and width that a network sees of photos in a frame of the view's size."""
        return frame[::-1] if self.turns % 2 else frame

    def show(self, photos: Tensor) -> Tensor:
        """Return photos (N, H, W, 3), in the view's frame already, flipped and turned, so that sides may be swapped."""
        return torch.rot90(photos.flip(2) if self.flipped else photos, self.turns, (1, 2))

    def turn_back(self, probabilities: Tensor, mirrored: Sequence[int] = ()) -> Tensor:
        """Return probabilities of what `show` gave as those of the photos, (N, C, H, W).

        Args:
            probabilities: of the network.
            mirrored: the class that each class is in a mirror, see `Classes.mirrored`; each itself if not given.
        """
        upright = torch.rot90(probabilities, -self.turns, (2, 3))
        if not self.flipped:
            return upright
        back = upright.flip(3)
        return back if list(mirrored) == list(range(len(mirrored))) else back[:, list(mirrored)]


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
