"""Why a training is told to stop, and how it says that it has: known without PyTorch."""

from collections.abc import Callable


class HaltedError(Exception):
    """The training was asked to stop in the midst of an epoch; its state is saved, and it can go on from there."""


Halt = Callable[[], str | None]
"""Asked before every step: why the training is to stop now, or None. It may raise what ends it without a state."""
