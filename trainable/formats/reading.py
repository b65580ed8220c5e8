"""Reads a data folder."""

from pathlib import Path

from trainable.classes import Classes
from trainable.coco.reader import read_training
from trainable.labelled_photos import Dataset


def read_data(root: Path, classes: Classes | None = None) -> Dataset:
    """Read."""
    return read_training(root, classes=classes)
