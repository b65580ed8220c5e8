"""The colours of the classes in pictures."""

import numpy as np

PALETTE = np.array(
    [
        (40, 40, 40), (230, 159, 0), (240, 240, 240), (0, 158, 115), (120, 150, 180), (120, 40, 30),
        (86, 180, 233), (204, 121, 167), (240, 228, 66), (213, 94, 0), (140, 90, 220),
    ],
    np.uint8,
)  # fmt: skip
"""One colour per class: dark background, the rest apart from each other also for colour-blind readers."""
