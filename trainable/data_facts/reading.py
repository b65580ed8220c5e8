"""Reads a data folder and looks at all of its photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainable.classes import Classes
from trainable.data_errors import DataError
from trainable.data_facts.facts import DataFacts
from trainable.data_facts.measuring import measure
from trainable.formats.reading import read_data


def read_facts(
    root: Path,
    image_size: int,
    classes: Classes | None = None,
    told: Callable[[int, int], None] = lambda done, photos: None,
) -> DataFacts:
    """Return what is worth knowing of a data folder; faults of single photos are the data set's `problems`.

    Args:
        root: the folder, in any format.
        image_size: pixels of a photo's longer side in training.
        classes: what its classes are to be; those that the data has where not given.
        told: how many photos are done, and of how many, after each.

    Raises:
        DataError: the folder cannot be read as a whole, or no photo is usable.
    """
    dataset = read_data(root, classes)
    if any(problem.file_name is None for problem in dataset.problems):
        raise DataError(dataset.root, dataset.problems)
    count = len(dataset.photos)
    photos, found = measure(dataset, lambda done: told(done, count))
    dataset = replace(dataset, problems=(*dataset.problems, *found))
    if not photos:
        raise DataError(dataset.root, dataset.problems, skipping=True)
    return DataFacts.of_photos(dataset, photos, image_size)
