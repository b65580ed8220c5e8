"""Counts in words: 1 epoch, 2 epochs."""


def counted(count: int, name: str) -> str:
    """Return how many there are of what `name` is one of; its plural is regular."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def agrees(count: int, one: str, many: str) -> str:
    """Return the word that goes with a count: 1 photo has, 2 photos have."""
    return one if count == 1 else many


def all_of(count: int, name: str) -> str:
    """Return all of what `name` is one of: all 3 epochs, its one epoch."""
    return f"its one {name}" if count == 1 else f"all {counted(count, name)}"


def have_ended(ended: int, trials: int) -> str:
    """Return how many of a run's trials have ended."""
    return f"{ended} of {counted(trials, 'trial')} {agrees(trials, 'has', 'have')} ended"
