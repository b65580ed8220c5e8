"""The labelled photos of a run, where its trainings found them."""

from pathlib import Path
from typing import Any

from trainable.artifacts import RunFolder
from trainable.cache import Cache, build_cache
from trainable.coco import read_training
from trainable.demo import find_data


def labelled_cache(run: RunFolder, image_size: int, data: Path | None = None) -> Cache:
    """Return the run's photos at an image size, cached where the run cached them.

    Args:
        run: the run folder.
        image_size: pixels per side.
        data: where the photos are, if they have moved.

    Raises:
        ValueError: the annotations are not those that the run began with.
        DataError: the photos are gone or damaged.
    """
    record: dict[str, Any] = run.search()
    plan, cache_dir = record["plan"], Path(record["plan"]["cache_dir"])
    dataset = read_training(find_data(data or (Path(plan["data"]) if plan["data"] else None), cache_dir))
    if dataset.json_hash != record["data_hash"]:
        raise ValueError(
            f"the annotations in {dataset.root} are not those of the run: their hash is {dataset.json_hash[:16]}, "
            f"recorded {record['data_hash'][:16]}; restore them, or name the folder they have moved to"
        )
    return build_cache(dataset, image_size, cache_dir, skip_bad=plan["skip_bad"])[0]
