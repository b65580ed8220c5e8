"""Hard voting of submission files: python analysis/vote.py A.csv B.csv C.csv --out voted.csv --weights 2 1 1.

Folders of masks, as `analysis/ensemble_predict.py --masks` writes them, vote in the same way: their classes are those
that their files name, which must be the same.

Each pixel becomes the class whose files have the largest sum of weights; of classes with the same sum, the one that the
file named first has. Photos are read one at a time, so that memory does not grow with the files.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.prediction.mask_files import Table, read_mask, write_mask
from analysis.prediction.submission import (
    LINE_LIMIT,
    Map,
    class_map,
    read_rows,
    split_row,
    write_submission,
)
from analysis.prediction.submission_check import check_submission, expected_ids, listed
from trainable.counts import counted
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console

ROUNDING = 1e-12
"""Share of a sum of weights that does not count: 0.1 + 0.2 ties with 0.3."""


@dataclass(frozen=True)
class Ballot:
    """One file, read photo by photo in any order."""

    path: Path
    place_of: dict[str, tuple[int, int]]  # line, from 1, and the bytes before it, by image_id

    @classmethod
    def open(cls, path: Path) -> "Ballot":
        """Look up where each photo's row is.

        Raises:
            ValueError: the file is no submission, apart from its values.
        """
        return cls(path, {row.image_id: (row.line, row.offset) for row in read_rows(path)})

    def read(self, image_id: str) -> Map:
        """Return a photo's map.

        Raises:
            ValueError: its values are no class ids, or the file has changed.
        """
        line, offset = self.place_of[image_id]
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.readline(LINE_LIMIT)
        try:
            row_id, values = split_row(content)
            if row_id != image_id:
                raise ValueError(f"has another photo than before, {row_id}; start again")
            return class_map(values)
        except ValueError as error:
            raise ValueError(f"{self.path}, line {line}, {image_id}: {error}") from None


def vote(maps: Map, weights: Sequence[float]) -> Map:
    """Return the class of the largest sum of weights per pixel, (H, W) uint8; the first map decides ties.

    Args:
        maps: (K, H, W) uint8 class ids.
        weights: K numbers above 0.

    Raises:
        ValueError: the weights are not of that kind.
    """
    weight = _checked_weights(weights, len(maps))
    result = maps[0].copy()
    disputed = (maps != maps[0]).any(axis=0)
    classes = maps[:, disputed]  # (K, pixels)
    # What the class that each map names has in all; of equals, argmax takes the first.
    support = np.stack([weight @ (classes == own) for own in classes])
    winner = (support >= support.max(axis=0) * (1 - ROUNDING)).argmax(axis=0)
    result[disputed] = np.take_along_axis(classes, winner[None], axis=0)[0]
    return result


def vote_files(paths: Sequence[Path], weights: Sequence[float], out: Path, data: Path | None = None) -> int:
    """Write the vote of the files and return its number of photos.

    Args:
        paths: the submissions, at least two. Their rows may be in any order.
        weights: one number above 0 for each.
        out: the csv to write, in the order of the data or, without, of the first file.
        data: folder of test.json, whose photos the files must have; None takes those of the first file.

    Raises:
        ValueError: a file is no submission, or they are of different photos.
    """
    _checked_weights(weights, len(paths))
    _check_named(paths, out)
    ballots = [Ballot.open(path) for path in paths]
    photos, order = expected_ids(data) if data else (list(ballots[0].place_of), None)
    image_ids = order or photos
    for ballot in ballots:
        _check_photos(ballot, image_ids, f"{data}/test.json" if data else str(paths[0]))
    write_submission(out, _voted(ballots, weights, image_ids), len(image_ids))
    if problems := check_submission(out, image_ids, image_ids):
        raise ValueError(f"{out} was damaged while it was written; check the disk and start again:\n{listed(problems)}")
    return len(image_ids)


def vote_folders(paths: Sequence[Path], weights: Sequence[float], out: Path) -> int:
    """Write the vote of folders of masks and return its number of photos.

    Args:
        paths: the folders, at least two, whose masks have the same names, sizes and palettes.
        weights: one number above 0 for each.
        out: the folder to write to.

    Raises:
        ValueError: what is there is no masks, or they are of different photos or classes.
    """
    _checked_weights(weights, len(paths))
    _check_named(paths, out)
    names = _mask_names(paths[0])
    for path in paths:
        lacking, besides = sorted(names - _mask_names(path)), sorted(_mask_names(path) - names)
        _check_alike(path, lacking, besides, str(paths[0]))
    table = read_mask(paths[0] / min(names))[1]
    for name in sorted(names):
        masks = [_mask(path, name, paths[0], table) for path in paths]
        if sizes := {mask.shape for mask in masks} - {masks[0].shape}:
            raise ValueError(f"masks of a photo have its size; those of {name} have {masks[0].shape} and {min(sizes)}")
        write_mask(out / name, vote(np.stack(masks), weights), table)
    return len(names)


def _mask_names(folder: Path) -> set[str]:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    if not names:
        raise ValueError(f"{folder} has no masks; name folders that analysis/ensemble_predict.py --masks has written")
    return names


def _mask(folder: Path, name: str, first: Path, table: Table) -> Map:
    mask, own = read_mask(folder / name)
    if own != table:
        raise ValueError(
            f"masks that vote have the same classes; {folder / name} has {own.names or 'other colours'}, {first} has "
            f"{table.names or 'others'}: name only folders of runs that share them"
        )
    return mask


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/vote.py", description="Vote submissions pixel by pixel.")
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="csv files, or folders of masks; the first decides ties"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="csv, or folder of masks, to write")
    parser.add_argument("--weights", type=float, nargs="+", metavar="W", help="one for each file (default 1 each)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of test.json, to check photos and order by")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Vote; returns the exit status."""
    weights, folders = options.weights or [1] * len(options.files), [path.is_dir() for path in options.files]
    if any(folders) and not all(folders):
        raise ValueError("csv files vote with csv files and folders of masks with folders; found both")
    if all(folders):
        photos = vote_folders(options.files, weights, options.out)
    else:
        photos = vote_files(options.files, weights, options.out, options.data)
    voted = counted(len(options.files), "folder" if all(folders) else "file")
    message = f"wrote {options.out}: {counted(photos, 'photo')}, the vote of {voted}"
    open_console().print(message, highlight=False, soft_wrap=True)
    return 0


def _voted(ballots: list[Ballot], weights: Sequence[float], photos: list[str]) -> Iterator[tuple[str, Map]]:
    for image_id in photos:
        yield image_id, vote(np.stack([ballot.read(image_id) for ballot in ballots]), weights)


def _check_named(paths: Sequence[Path], out: Path) -> None:
    named = [path.resolve() for path in paths]
    if len(named) < 2 or len({*named, out.resolve()}) <= len(named):
        raise ValueError("name at least two files, none twice (--weights counts one more), and none of them as --out")


def _check_photos(ballot: Ballot, image_ids: list[str], where: str) -> None:
    lacking = [image_id for image_id in image_ids if image_id not in ballot.place_of]
    unknown = sorted(ballot.place_of.keys() - set(image_ids))
    _check_alike(ballot.path, lacking, unknown, where)


def _check_alike(path: Path, lacking: Sequence[str], unknown: Sequence[str], where: str) -> None:
    faults = [
        f"{verb} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for verb, names in (("lacks", lacking), ("has besides", unknown))
        if names
    ]
    if faults:
        raise ValueError(f"all files must have the photos of {where}; {path} {' and '.join(faults)}")


def _checked_weights(weights: Sequence[float], count: int) -> NDArray[np.float64]:
    weight = np.asarray(weights, np.float64)
    if weight.shape != (count,) or not (np.isfinite(weight) & (weight > 0)).all():
        given = ", ".join(f"{number:g}" for number in weights)
        raise ValueError(f"there must be one weight above 0 for each of {count} files, found {given}")
    return weight


if __name__ == "__main__":
    sys.exit(main())
