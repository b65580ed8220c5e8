"""How much a search still has to train, by how its trials stand: one estimate for all who tell it."""

from collections.abc import Sequence

UNKNOWN_SHARE = 0.6
"""Of its budget that a trial is taken to train before any has ended."""


def epochs_to_come(
    to_begin: int,
    budget: int,
    ended: Sequence[int],
    paused: Sequence[int],
    running: Sequence[int],
    expected: float = 0.0,
) -> float:
    """Return the epochs that are still to be trained.

    Args:
        to_begin: trials that have not begun.
        budget: epochs of a trial at most.
        ended: epochs of each trial that has ended or was stopped.
        paused: of each that made room for others; one of them at least is to go on to its end.
        running: of each that runs.
        expected: of the whole search, as far as that is known of searches like it; at least so many are trained.
    """
    over = [*ended, *paused]
    typical = sum(over) / len(over) if over else budget * UNKNOWN_SHARE
    epochs = to_begin * typical + sum(max(typical - trained, 1) for trained in running)
    if paused:
        epochs += budget - max([*over, *running])
    return max(epochs, expected - sum(over) - sum(running))
