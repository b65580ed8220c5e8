"""The values that the parameters of a loss may have; known without PyTorch, for a config to be refused at once."""

from collections.abc import Callable
from typing import Any

from trainable.config import Choice, check_number

Range = tuple[str, Callable[[float], bool]]

SHARE: Range = ("0 to 1", lambda value: 0 <= value <= 1)
FROM_0: Range = ("at least 0", lambda value: value >= 0)
ABOVE_0: Range = ("above 0", lambda value: value > 0)

LOSS_RANGES: dict[str, dict[str, Range]] = {
    "cross_entropy": {"label_smoothing": SHARE},
    "weighted_cross_entropy": {"label_smoothing": SHARE},
    "focal": {"gamma": FROM_0},
    "tversky": {"alpha": FROM_0, "beta": FROM_0},
    "focal_tversky": {"alpha": FROM_0, "beta": FROM_0, "gamma": ABOVE_0},
    "ohem_cross_entropy": {
        "threshold": ("0 to below 1", lambda value: 0 <= value < 1),
        "share": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    },
    "boundary_cross_entropy": {
        "weight": FROM_0, "width": ("at least 1, whole", lambda value: value >= 1 and value % 1 == 0),
    },
    "ce_dice": {"weight": SHARE},
    "focal_dice": {"weight": SHARE, "gamma": FROM_0},
    "ce_lovasz": {"weight": SHARE},
}  # fmt: skip
"""By loss and parameter: the rule in words, and whether a value keeps it."""


def check_loss(choice: Choice) -> None:
    """Check the values of a loss's parameters, as far as they are numbers.

    Raises:
        ValueError: one is out of range.
    """
    ranges: dict[str, Any] = LOSS_RANGES.get(choice["name"], {})
    for name in choice.keys() & ranges.keys():
        check_number(f"loss {choice['name']!r}: {name}", choice[name], *ranges[name])
