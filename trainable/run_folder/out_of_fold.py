"""Out-of-fold probabilities in little space: class probabilities of validation photos as whole numbers in parquet.

One row per photo, a row group each, so that a reader takes the photos it wants:

    file_name       the photo
    probabilities   zstd of C x S x S bytes, the probability of each class times 255; each row of pixels less the row
                    above it, modulo 256 (most differences are 0). Files of before leave the compression to parquet:
                    their metadata has no `packed`

S is the training size where that is below 256; otherwise the maps are kept at 256, where the competition's score looks.
`at_256` brings the smaller ones there too. Every score is that of the likeliest class there: of a training, of an
ensemble and of a submission. Rounding never changes which class that is, so mIoU follows from the file exactly.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.classes import CLASSES
from trainable.images.resampling import SCORE_SIZE
from trainable.metric.score_maps import Sizes, at_score_size, classes_at_score_size
from trainable.storage.atomic_write import temporary_of
from trainable.storage.disk_full import with_room

Map = NDArray[np.uint8]
"""Probabilities times 255 of one photo, (C, S, S)."""


CODEC = "zstd"


class DamagedMapsError(ValueError):
    """A file of probabilities cannot be read."""


def quantised(logits: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return `kept` of the probabilities of logits (N, C, S, S)."""
    return kept(logits.softmax(1), sizes)


def kept(probabilities: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return probabilities (N, C, S, S) times 255 as they are kept: uint8, at 256 where the score looks from 256 on.

    Args:
        probabilities: of a network.
        sizes: height and width of the photos; those of the competition's if not given.
    """
    small = probabilities.shape[-1] < SCORE_SIZE
    return rounded(probabilities if small else at_score_size(probabilities, sizes))


def at_256(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return kept maps (N, C, S, S) at 256 x 256, float32 times 255."""
    return maps.float() if maps.shape[-1] == SCORE_SIZE else at_score_size(maps, sizes)


def classes_at_256(maps: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Return the likeliest class of kept maps (N, C, S, S) at 256 x 256, uint8 (N, 256, 256)."""
    if maps.shape[-1] == SCORE_SIZE:
        return maps.max(1).indices.to(torch.uint8)
    return classes_at_score_size(maps, sizes)


def rounded(probabilities: Tensor) -> Tensor:
    """Return probabilities (N, C, H, W) times 255 as uint8; the likeliest class stays the likeliest."""
    top, classes = probabilities.max(1, keepdim=True)
    # Below the likeliest's 255, so that it has room for one more.
    whole = (probabilities * 255).round_().clamp_(max=254).to(torch.uint8)
    # Where another class rounds to the same number, the first of them would be taken for the likeliest.
    tied = (whole.max(1, keepdim=True).indices != classes) & (top * 255 < 254.5)
    return whole.scatter_(1, classes, (top * 255).round_().to(torch.uint8) + tied.to(torch.uint8))


def encoded(maps: Sequence[Map] | NDArray[np.uint8]) -> list[bytes]:
    """Return each map (C, S, S) with its rows less the rows above, as the file holds it, compressed."""
    return [
        pa.compress(np.diff(photo_map, axis=1, prepend=np.uint8(0)).tobytes(), codec=CODEC, asbytes=True)
        for photo_map in maps
    ]


def write_maps(path: Path, rows: Iterable[tuple[str, bytes]], size: int, epoch: int = 0) -> None:
    """Write the file atomically, one photo at a time.

    Args:
        path: of the file.
        rows: file name and map of each photo, as `encoded` gives it.
        size: pixels per side of the maps.
        epoch: of the weights they come from.
    """
    listed = list(rows)
    with_room(lambda: _write_maps(path, listed, size, epoch), path)


def _write_maps(path: Path, rows: list[tuple[str, bytes]], size: int, epoch: int) -> None:
    schema = pa.schema(
        [("file_name", pa.string()), ("probabilities", pa.binary())],
        {
            "classes": ",".join(CLASSES),
            "size": str(size),
            "scale": "255",
            "rows": "less the row above, modulo 256",
            "packed": CODEC,
            "epoch": str(epoch),
        },
    )
    temporary = temporary_of(path)
    try:
        with temporary.open("wb") as file:
            with pq.ParquetWriter(
                file,
                schema,
                compression="none",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            ) as writer:
                for name, row in rows:
                    writer.write_table(pa.table({"file_name": [name], "probabilities": [row]}, schema))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Maps:
    """A file of probabilities, read photo by photo."""

    path: Path
    size: int  # pixels per side
    epoch: int  # of the weights they come from; 0 is unknown
    row_of: dict[str, int]  # by file name
    packed: str = ""  # how each map is compressed; in files of before parquet alone has done it

    @classmethod
    def open(cls, path: Path) -> "Maps":
        """Read what is in the file, but for the maps.

        Raises:
            DamagedMapsError: it cannot be read, or is of other classes.
        """
        try:
            with pq.ParquetFile(path) as file:
                metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
                names = file.read(["file_name"]).column(0).to_pylist()
                size, classes = int(metadata["size"]), tuple(metadata["classes"].split(","))
                epoch, packed = int(metadata.get("epoch", 0)), metadata.get("packed", "")
        except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
            raise DamagedMapsError(f"{path} cannot be read ({_first_line(error)})") from error
        if classes != CLASSES:
            raise DamagedMapsError(f"{path} is of the classes {', '.join(classes)}, not {', '.join(CLASSES)}")
        return cls(path, size, epoch, {name: row for row, name in enumerate(names)}, packed)

    def read(self, file_names: Iterable[str]) -> Iterable[Map]:
        """Yield the photos' maps in the order asked.

        Raises:
            DamagedMapsError: a photo is missing, or a map cannot be read.
        """
        with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            for name in file_names:
                if name not in self.row_of:
                    raise DamagedMapsError(f"{self.path} has no photo {name}")
                try:
                    group = file.read_row_group(self.row_of[name], ["probabilities"], use_threads=False)
                    cell = group.column(0)[0].as_buffer()
                    if self.packed:
                        cell = pa.decompress(cell, len(CLASSES) * self.size**2, codec=self.packed)
                    differences = np.frombuffer(cell, np.uint8)
                    rows = differences.reshape(len(CLASSES), self.size, self.size)
                except (OSError, pa.ArrowException, ValueError) as error:
                    raise DamagedMapsError(f"{self.path}: {name} cannot be read ({_first_line(error)})") from error
                yield _added_up(rows)


def _added_up(differences: NDArray[np.uint8]) -> Map:
    """Return the sums over the rows so far, (C, S, S), modulo 256; whole rows at a time, 3 times as fast as numpy's."""
    rows = np.ascontiguousarray(differences.transpose(1, 0, 2))
    for row in range(1, len(rows)):
        rows[row] += rows[row - 1]
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
