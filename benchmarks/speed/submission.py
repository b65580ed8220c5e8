"""Writing a submission of 819 photos against the usual string joins: python -m benchmarks.speed.submission. Bar: 20x.

The usual way joins the pixels of a map as strings and appends its row to a DataFrame, photo by photo, as the notebooks
of the competition do (by `append`, which pandas 2 replaced by `concat`). Both ways write the whole file, ours syncs it
to disk as well; the two files must be the same byte by byte.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.prediction.submission import prediction_bytes, write_submission
from benchmarks.speed.turns import median_seconds
from trainable.classes import COMPETITION

PHOTOS = 819
Row = tuple[str, np.ndarray]


def joined(classes: np.ndarray) -> str:
    return " ".join(str(pixel) for pixel in classes.flatten().tolist())


def write_usual(path: Path, rows: list[Row]) -> None:
    table = pd.DataFrame({"image_id": [], "PredictionString": []})
    for image_id, classes in rows:
        row = pd.DataFrame([{"image_id": image_id, "PredictionString": joined(classes)}])
        table = pd.concat([table, row], ignore_index=True)
    table.to_csv(path, index=False)


def make_texts(way: Callable[[np.ndarray], object], rows: list[Row]) -> None:
    for _, classes in rows:
        way(classes)


def predicted(photos: int) -> list[Row]:
    """Maps of background with up to six round objects of any class; about a quarter has class 10, of two digits."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:256, :256]
    rows = []
    for number in range(photos):
        classes = np.zeros((256, 256), np.uint8)
        for _ in range(rng.integers(1, 7)):
            top, left = rng.integers(0, 256, 2)
            classes[(y - top) ** 2 + (x - left) ** 2 < rng.integers(8, 70) ** 2] = rng.integers(1, len(COMPETITION))
        rows.append((f"batch_01_vt/{number:04d}.jpg", classes))
    return rows


def main(rounds: int = 3) -> None:
    rows = predicted(PHOTOS)
    two_digits = sum((classes == len(COMPETITION) - 1).any() for _, classes in rows)
    print(f"submission of {PHOTOS} photos, {two_digits} with class 10; median of {rounds} interleaved rounds")
    with tempfile.TemporaryDirectory() as folder:
        usual, ours = Path(folder, "usual.csv"), Path(folder, "ours.csv")
        ways = {"usual": partial(write_usual, usual, rows), "ours": partial(write_submission, ours, rows)}
        slow, fast = median_seconds(ways, rounds).values()
        assert usual.read_bytes() == ours.read_bytes()
        size = ours.stat().st_size / 1e6
    print(f"  file of {size:.0f} MB: usual {slow:6.2f} s   ours {fast:6.3f} s   ratio {slow / fast:4.0f} (bar 20)")
    # Without the disk, which is most of ours.
    texts = {name: partial(make_texts, way, rows) for name, way in (("usual", joined), ("ours", prediction_bytes))}
    slow, fast = (1000 * seconds / PHOTOS for seconds in median_seconds(texts, rounds).values())
    print(f"  text of a photo: usual {slow:6.2f} ms  ours {fast:6.3f} ms  ratio {slow / fast:4.0f}")


if __name__ == "__main__":
    main()
