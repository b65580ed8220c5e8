"""Predicts the photos of test.json in chunks that survive a kill, and writes what was asked for."""

import json
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
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.prediction.ensemble_file import Ensemble
from analysis.prediction.filters import class_maps
from analysis.prediction.networks import Networks, predict_photos
from analysis.prediction.palette import PALETTE
from analysis.prediction.photo_input import UnreadablePhotoError, read_photo
from analysis.prediction.submission import PIXELS, write_submission
from analysis.prediction.submission_check import expected_ids, listed
from trainable.counts import counted
from trainable.images.photo_files import photo_path
from trainable.images.resampling import SCORE_SIZE, resize_photo
from trainable.machine.cores import cpu_count
from trainable.run_folder.out_of_fold import encoded, write_maps
from trainable.storage.atomic_write import read_json, write_bytes, write_json


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    csv: Path  # absolute
    masks: Path | None = None  # folder of PNGs
    probabilities: Path | None = None  # folder of parquet files

    @property
    def parts(self) -> Path:
        """Where finished chunks wait."""
        return self.csv.with_name(f".{self.csv.name}.parts")


def predict_test(ensemble: Ensemble, data: Path, outputs: Outputs, console: Console, *, skip_bad: bool = False) -> None:
    """Predict the photos of a data folder's test.json and write the submission; after a kill, go on where it was.

    Args:
        ensemble: what predicts.
        data: folder of test.json.
        outputs: what to write.
        console: shows how far it is.
        skip_bad: photos that cannot be read are submitted as background.

    Raises:
        ValueError: photos are missing or unreadable, or a disk is too small.
    """
    names, order = expected_ids(data)
    bad = bad_photos(data, names, skip_bad, console)
    _check_disk(outputs, len(names))
    networks = Networks()
    size = networks.chunk([voter.folder for voter in ensemble.voters])
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
    write_submission(outputs.csv, _rows(outputs, chunks, order or names), len(names))
    shutil.rmtree(outputs.parts)
    console.print(f"wrote {outputs.csv}", highlight=False, soft_wrap=True)


def describe(ensemble: Ensemble) -> str:
    """Return what predicts, in few words."""
    filters = ", ".join(entry["name"] for entry in ensemble.filters) or "no filter"
    return f"{counted(len(ensemble.voters), 'model')}, views: {', '.join(ensemble.views)}; {filters}"


def bad_photos(data: Path, names: Sequence[str], skip_bad: bool, console: Console) -> set[str]:
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
    if faults and not skip_bad:
        listing = listed(list(faults.values()))
        raise ValueError(
            f"{len(faults)} of {len(names)} test photos cannot be read; mend them, or submit them as background by "
            f"--skip-bad:\n{listing}"
        )
    for reason in faults.values():
        console.print(f"note: {reason}: submitted as background", style="yellow", highlight=False, soft_wrap=True)
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
    small = [resize_photo(read_photo(path), SCORE_SIZE) for path in paths] if ensemble.filters else []
    map_of = dict(zip(good, class_maps(maps, small, ensemble.filters, executor), strict=True))
    classes = np.stack([map_of.get(name, np.zeros((SCORE_SIZE, SCORE_SIZE), np.uint8)) for name in names])
    if outputs.probabilities and good:
        outputs.probabilities.mkdir(parents=True, exist_ok=True)
        rows = zip(good, encoded(maps), strict=True)
        write_maps(outputs.probabilities / f"part-{index:04d}.parquet", rows, SCORE_SIZE)
    if outputs.masks:
        for name, class_map in zip(names, classes, strict=True):
            write_mask(outputs.masks / Path(name).with_suffix(".png"), class_map)
    write_bytes(_part(outputs, index), classes.tobytes())  # last: the chunk is done


def write_mask(path: Path, classes: NDArray[np.uint8]) -> None:
    """Write a class map as a PNG whose pixels are the class indices and whose palette gives them colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(classes, "P")
    image.putpalette(PALETTE.reshape(-1).tolist())
    image.save(path)


def _check_disk(outputs: Outputs, photos: int) -> None:
    need = photos * PIXELS * (3 + (3 if outputs.probabilities else 0))  # parts, csv, at most 200 KB of probabilities
    outputs.csv.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(outputs.csv.parent).free
    if need > free:
        raise ValueError(
            f"predicting {photos} photos needs {need / 1e6:,.0f} MB, {outputs.csv.parent} has {free / 1e6:,.0f} MB "
            "free; make room or name another disk by --out"
        )


def _open_parts(outputs: Outputs, key: dict[str, Any]) -> None:
    """Keep the finished chunks if all that they depend on is the same, else begin anew."""
    key = json.loads(json.dumps({**key, "more": [str(outputs.masks), str(outputs.probabilities)]}))
    file = outputs.parts / "key.json"
    if not file.exists() or read_json(file) != key:
        shutil.rmtree(outputs.parts, ignore_errors=True)
        for old in outputs.probabilities.glob("part-*.parquet") if outputs.probabilities else ():
            old.unlink()
        outputs.parts.mkdir()
        write_json(file, key)


def _part(outputs: Outputs, index: int) -> Path:
    return outputs.parts / f"{index:05d}.maps"


def _rows(
    outputs: Outputs, chunks: Sequence[Sequence[str]], order: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and class map in the order asked, from the chunks' files mapped into memory."""
    position_of = {name: (index, row) for index, chunk in enumerate(chunks) for row, name in enumerate(chunk)}
    files = [
        np.memmap(_part(outputs, index), np.uint8, "r").reshape(-1, SCORE_SIZE, SCORE_SIZE)
        for index in range(len(chunks))
    ]
    for name in order:
        index, row = position_of[name]
        yield name, np.array(files[index][row])
