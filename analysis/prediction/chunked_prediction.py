"""Predicts test photos in chunks that survive a kill, and writes what was asked for."""

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.prediction.ensemble_file import Ensemble
from analysis.prediction.filters import class_maps
from analysis.prediction.mask_files import Table, check_mask_places, mask_name, write_mask
from analysis.prediction.networks import Networks, predict_photos
from analysis.prediction.photo_input import UnreadablePhotoError, as_scored, read_photo
from analysis.prediction.photos_to_predict import names_to_predict
from analysis.prediction.submission import check_csv, write_submission
from analysis.prediction.submission_check import expected_ids, listed
from trainable.classes import COMPETITION, Classes
from trainable.counts import counted
from trainable.geometry import Geometry, Shape
from trainable.images.photo_files import UNREADABLE, photo_path, upright_size
from trainable.images.resampling import unscored_mask
from trainable.machine.cores import cpu_count
from trainable.run_folder.out_of_fold import encoded, write_maps
from trainable.storage.atomic_write import read_json, write_bytes, write_json


@dataclass(frozen=True)
class Outputs:
    """What is written: a csv, masks, or both."""

    csv: Path | None  # absolute; of the competition
    masks: Path | None = None  # folder of PNGs at the photos' own sizes
    probabilities: Path | None = None  # folder of parquet files

    def __post_init__(self) -> None:
        """Check that there is something to write."""
        if self.csv is None and self.masks is None:
            raise ValueError("name what to write: the csv by --out, a folder of masks by --masks, or both")

    @property
    def main(self) -> Path:
        """What a command is asked for first."""
        return self.csv or (self.masks or Path()).absolute()

    @property
    def parts(self) -> Path:
        """Where finished chunks wait."""
        return self.main.with_name(f".{self.main.name}.parts")


def predict_test(ensemble: Ensemble, data: Path, outputs: Outputs, console: Console, *, skip_bad: bool = False) -> None:
    """Predict the test photos of a data folder and write what is asked for; after a kill, go on where it was.

    Args:
        ensemble: what predicts.
        data: folder of test.json; where only masks are written, also one of photos alone.
        outputs: what to write.
        console: shows how far it is.
        skip_bad: photos that cannot be read become background, or class 0.

    Raises:
        ValueError: photos are missing or unreadable, a disk is too small, masks would overwrite photos, or a csv is
            asked for that the competition does not know.
    """
    classes, geometry = ensemble.classes, ensemble.geometry
    if outputs.csv:
        check_csv(classes, geometry)
        names, order = expected_ids(data)
    else:
        names, order = _all_photos(data, outputs), None
    if outputs.masks:
        check_mask_places(outputs.masks, data, names)
    bad = bad_photos(data, names, skip_bad, console, classes)
    _check_disk(outputs, len(names), geometry.score)
    networks = Networks()
    size = networks.chunk([voter.folder for voter in ensemble.voters], classes, geometry)
    chunks = [names[start : start + size] for start in range(0, len(names), size)]
    stats = [
        (path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else None
        for path in (photo_path(data, name) for name in names)
    ]
    _open_parts(
        outputs,
        {
            "ensemble": ensemble.hash,
            "data": str(data.resolve()),
            "photos": names,
            "stats": stats,
            "bad": sorted(bad),
            "chunk": size,
        },
    )
    remaining = [index for index in range(len(chunks)) if not _part(outputs, index).exists()]
    done = sum(len(chunk) for chunk in chunks) - sum(len(chunks[index]) for index in remaining)
    again = f", {done} of them done before" if done else ""
    console.print(f"{counted(len(names), 'photo')}{again}: {describe(ensemble)}", highlight=False, soft_wrap=True)
    started = time.perf_counter()
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    needs_processes = any(entry["name"] == "crf" for entry in ensemble.filters)
    context = ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) if needs_processes else nullcontext()
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bars as bar, context as executor:
        task = bar.add_task("photos", total=len(names), completed=done)
        for count, index in enumerate(remaining, start=1):
            _predict_chunk(ensemble, data, outputs, index, chunks[index], bad, networks, executor)
            bar.advance(task, len(chunks[index]))
            if not console.is_terminal and (count * 10 // len(remaining)) > ((count - 1) * 10 // len(remaining)):
                rate = sum(len(chunks[position]) for position in remaining[:count]) / (time.perf_counter() - started)
                console.print(f"{count * 100 // len(remaining)}% done, {rate:.1f} photos/s", highlight=False)
    if outputs.csv:
        write_submission(outputs.csv, _rows(outputs, chunks, order or names, geometry.score), len(names))
    shutil.rmtree(outputs.parts)
    masks = f"{counted(len(names), 'mask')} to {outputs.masks}" if outputs.masks else ""
    written = " and ".join(filter(None, (str(outputs.csv or ""), masks)))
    console.print(f"wrote {written}", highlight=False, soft_wrap=True)


def _all_photos(data: Path, outputs: Outputs) -> list[str]:
    """Return the names of the photos in a folder, but for masks that were written into it.

    Raises:
        ValueError: there are none.
    """
    masks, root = outputs.main.resolve(), data.resolve()
    inside = masks != root and masks.is_relative_to(root)
    paths = ((name, (data / name).resolve()) for name in names_to_predict(data))
    names = [name for name, path in paths if not (inside and path.is_relative_to(masks))]
    if not names:
        raise ValueError(f"{data} has no photo to predict; name by --data a folder with test.json, or of photos")
    return names


def describe(ensemble: Ensemble) -> str:
    """Return what predicts, in few words."""
    filters = ", ".join(entry["name"] for entry in ensemble.filters) or "no filter"
    return f"{counted(len(ensemble.voters), 'model')}, views: {', '.join(ensemble.views)}; {filters}"


def bad_photos(
    data: Path, names: Sequence[str], skip_bad: bool, console: Console, classes: Classes = COMPETITION
) -> set[str]:
    """Decode every photo once, so that a broken one is found before hours of prediction, and return those that cannot.

    Raises:
        ValueError: there are some, and they are not to be skipped: all are listed.
    """

    def fault(name: str) -> str | None:
        try:
            read_photo(photo_path(data, name))
        except UnreadablePhotoError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(cpu_count()) as pool:
        faults = {name: reason for name, reason in zip(names, pool.map(fault, names), strict=True) if reason}
    become = "background" if classes.background else f"{classes.names[0]}, class 0, as there is no background"
    if faults and not skip_bad:
        listing = listed(list(faults.values()))
        raise ValueError(
            f"{len(faults)} of {len(names)} test photos cannot be read; mend them, or submit them as {become} by "
            f"--skip-bad:\n{listing}"
        )
    for reason in faults.values():
        console.print(f"note: {reason}: submitted as {become}", style="yellow", highlight=False, soft_wrap=True)
    return set(faults)


def _predict_chunk(
    ensemble: Ensemble,
    data: Path,
    outputs: Outputs,
    index: int,
    names: Sequence[str],
    bad: set[str],
    networks: Networks,
    executor: Executor | None,
) -> None:
    good = [name for name in names if name not in bad]
    paths = [photo_path(data, name) for name in good]
    maps = list(predict_photos(ensemble, paths, networks)) if good else []
    classes, geometry = ensemble.classes, ensemble.geometry
    small = [as_scored(read_photo(path), geometry) for path in paths] if ensemble.filters else []
    found = class_maps(maps, small, ensemble.filters, executor, classes.background)
    map_of = dict(zip(good, found, strict=True))
    nothing = np.zeros(geometry.score, np.uint8)
    if outputs.probabilities and good:
        outputs.probabilities.mkdir(parents=True, exist_ok=True)
        rows = zip(good, encoded(maps), strict=True)
        file = outputs.probabilities / f"part-{index:04d}.parquet"
        write_maps(file, rows, geometry.score, classes=classes.names)
    if outputs.masks:
        for name in names:
            height, width = own_size(photo_path(data, name), geometry)
            mask = unscored_mask(map_of.get(name, nothing), height, width, geometry)
            write_mask(outputs.masks / mask_name(name), mask, Table.of(classes))
    rows_of_csv = np.stack([map_of.get(name, nothing) for name in names]).tobytes() if outputs.csv else b""
    write_bytes(_part(outputs, index), rows_of_csv)  # last: the chunk is done


def own_size(path: Path, geometry: Geometry) -> Shape:
    """Return a photo's own height and width, those of the score's frame where it cannot be read."""
    try:
        width, height = upright_size(path)
    except UNREADABLE:
        return geometry.score
    return height, width


def _check_disk(outputs: Outputs, photos: int, score: Shape) -> None:
    # Parts, csv, at most 200 KB of probabilities of 256 x 256.
    need = photos * math.prod(score) * (3 + (3 if outputs.probabilities else 0))
    folder = outputs.main.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise ValueError(
            f"predicting {photos} photos needs {need / 1e6:,.0f} MB, {folder} has {free / 1e6:,.0f} MB "
            f"free; make room or name another disk by {'--out' if outputs.csv else '--masks'}"
        )


def _open_parts(outputs: Outputs, key: dict[str, Any]) -> None:
    """Keep the finished chunks if all that they depend on is the same, else begin anew."""
    key = json.loads(json.dumps({**key, "more": [str(outputs.masks), str(outputs.probabilities)]}))
    file = outputs.parts / "key.json"
    if not file.exists() or read_json(file) != key:
        shutil.rmtree(outputs.parts, ignore_errors=True)
        for old in outputs.probabilities.glob("part-*.parquet") if outputs.probabilities else ():
            old.unlink()
        outputs.parts.mkdir(parents=True)
        write_json(file, key)


def _part(outputs: Outputs, index: int) -> Path:
    return outputs.parts / f"{index:05d}.maps"


def _rows(
    outputs: Outputs, chunks: Sequence[Sequence[str]], order: Sequence[str], score: Shape
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and class map in the order asked, from the chunks' files mapped into memory."""
    position_of = {name: (index, row) for index, chunk in enumerate(chunks) for row, name in enumerate(chunk)}
    files = [np.memmap(_part(outputs, index), np.uint8, "r").reshape(-1, *score) for index in range(len(chunks))]
    for name in order:
        index, row = position_of[name]
        yield name, np.array(files[index][row])
