"""Counts in words: 1 epoch, 2 epochs."""


def counted(count: int, name: str) -> str:
    """Return how many there are of what `name` is one of; its plural is regular."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def have_ended(ended: int, trials: int) -> str:
    """Return how many of a run's trials have ended."""
    return f"{ended} of {counted(trials, 'trial')} {'has' if trials == 1 else 'have'} ended"
