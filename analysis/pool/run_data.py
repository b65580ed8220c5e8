"""The labelled photos of a run, where its trainings found them."""

from pathlib import Path

from analysis.pool.same_scores import classes_differ
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.demo import find_data
from trainable.formats.reading import read_data
from trainable.labelled_photos import Dataset
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.storage.remote_data import local_data


def data_folder(search: SearchRecord, data: Path | None = None) -> Path:
    """Return the data folder of a run, given its record, or `data` where it has moved."""
    folder = local_data(search.data, search.cache_dir) if search.data and not data else data
    return find_data(folder, search.cache_dir)


def run_dataset(search: SearchRecord, data: Path | None = None) -> Dataset:
    """Read the annotations of a run, given its record, in its classes.

    Raises:
        ValueError: they, or their classes, are not those that the run began with.
        DataError: they are gone or damaged.
    """
    dataset = read_data(data_folder(search, data), search.classes)
    if dataset.json_hash != search.data_hash:
        raise ValueError(
            f"the annotations in {dataset.root} are not those of the run: their hash is {dataset.json_hash[:16]}, "
            f"recorded {str(search.data_hash)[:16]}; restore them, or name by --data the folder they have moved to"
        )
    if differing := classes_differ(search.classes, dataset.classes):
        raise ValueError(f"the classes of the run and of {dataset.root} differ: {differing}; restore the annotations")
    return dataset


def run_cache(search: SearchRecord, dataset: Dataset, image_size: int) -> Cache:
    """Return a run's photos at an image size in the run's frames, given its record, cached where it cached them."""
    return build_cache(dataset, image_size, search.cache_dir, geometry=search.geometry, skip_bad=search.skip_bad)[0]


def labelled_cache(run: RunFolder, image_size: int, data: Path | None = None) -> Cache:
    """Return the run's photos at an image size, cached where the run cached them; `data` is where they have moved.

    Raises:
        ValueError: the annotations are not those that the run began with.
        DataError: the photos are gone or damaged.
    """
    search = run.record()
    return run_cache(search, run_dataset(search, data), image_size)
