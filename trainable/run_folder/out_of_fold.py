"""Out-of-fold probabilities in little space: class probabilities of validation photos as whole numbers in parquet.

One row per photo, a row group each, so that a reader takes the photos it wants:

    file_name       the photo
    probabilities   zstd of C x H x W bytes, the probability of each class times 255; each row of pixels less the row
                    above it, modulo 256 (most differences are 0). Files of before leave the compression to parquet:
                    their metadata has no `packed`

H x W is the frame of the training where that is smaller than the one where the score looks (256 x 256 in the
competition); otherwise the maps are kept there. `scored` brings the smaller ones there too. Every score is that of the
likeliest class there: of a training, of an ensemble and of a submission. Rounding never changes which class that is, so
mIoU follows from the file exactly.
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

from trainable.classes import COMPETITION
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape
from trainable.metric.score_maps import Sizes, at_score_size, classes_at_score_size
from trainable.storage.atomic_write import temporary_of
from trainable.storage.disk_full import with_room

Map = NDArray[np.uint8]
"""Probabilities times 255 of one photo, (C, H, W)."""


CODEC = "zstd"


class DamagedMapsError(ValueError):
    """A file of probabilities cannot be read."""


def quantised(logits: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY) -> Tensor:
    """Return `kept` of the probabilities of logits (N, C, H, W)."""
    return kept(logits.softmax(1), sizes, geometry)


def kept(probabilities: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY) -> Tensor:
    """Return probabilities (N, C, H, W) times 255 as they are kept: uint8, where the score looks if that is smaller.

    Args:
        probabilities: of a network.
        sizes: height and width of the photos; those of the competition's if not given.
        geometry: of the photos.
    """
    small = kept_shape((probabilities.shape[2], probabilities.shape[3]), geometry) != geometry.score
    return rounded(probabilities if small else at_score_size(probabilities, sizes, geometry))


def kept_shape(frame: Shape, geometry: Geometry) -> Shape:
    """Return the height and width at which probabilities of a network's frame are kept."""
    return frame if frame[0] * frame[1] < geometry.score[0] * geometry.score[1] else geometry.score


def scored(maps: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY) -> Tensor:
    """Return kept maps (N, C, H, W) where the score looks, float32 times 255."""
    return maps.float() if maps.shape[2:] == geometry.score else at_score_size(maps, sizes, geometry)


def scored_classes(maps: Tensor, sizes: Sizes | None = None, geometry: Geometry = COMPETITION_GEOMETRY) -> Tensor:
    """Return the likeliest class of kept maps (N, C, H, W) where the score looks, uint8 (N, h, w)."""
    if maps.shape[2:] == geometry.score:
        return maps.max(1).indices.to(torch.uint8)
    return classes_at_score_size(maps, sizes, geometry)


def rounded(probabilities: Tensor) -> Tensor:
    """Return probabilities (N, C, H, W) times 255 as uint8; the likeliest class stays the likeliest."""
    top, classes = probabilities.max(1, keepdim=True)
    # Below the likeliest's 255, so that it has room for one more.
    whole = (probabilities * 255).round_().clamp_(max=254).to(torch.uint8)
    # Where another class rounds to the same number, the first of them would be taken for the likeliest.
    tied = (whole.max(1, keepdim=True).indices != classes) & (top * 255 < 254.5)
    return whole.scatter_(1, classes, (top * 255).round_().to(torch.uint8) + tied.to(torch.uint8))


def encoded(maps: Sequence[Map] | NDArray[np.uint8]) -> list[bytes]:
    """Return each map (C, H, W) with its rows less the rows above, as the file holds it, compressed."""
    return [
        pa.compress(np.diff(photo_map, axis=1, prepend=np.uint8(0)).tobytes(), codec=CODEC, asbytes=True)
        for photo_map in maps
    ]


def write_maps(
    path: Path,
    rows: Iterable[tuple[str, bytes]],
    shape: Shape,
    epoch: int = 0,
    classes: Sequence[str] = COMPETITION.names,
) -> None:
    """Write the file atomically, one photo at a time.

    Args:
        path: of the file.
        rows: file name and map of each photo, as `encoded` gives it.
        shape: height and width of the maps.
        epoch: of the weights they come from.
        classes: their names.
    """
    listed = list(rows)
    with_room(lambda: _write_maps(path, listed, shape, epoch, classes), path)


def _write_maps(path: Path, rows: list[tuple[str, bytes]], shape: Shape, epoch: int, classes: Sequence[str]) -> None:
    schema = pa.schema(
        [("file_name", pa.string()), ("probabilities", pa.binary())],
        {
            "classes": ",".join(classes),
            "size": str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}",
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
    shape: Shape  # of the maps
    classes: tuple[str, ...]  # their names
    epoch: int  # of the weights they come from; 0 is unknown
    row_of: dict[str, int]  # by file name
    packed: str = ""  # how each map is compressed; in files of before parquet alone has done it

    @classmethod
    def open(cls, path: Path) -> "Maps":
        """Read what is in the file, but for the maps.

        Raises:
            DamagedMapsError: it cannot be read.
        """
        try:
            with pq.ParquetFile(path) as file:
                metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
                names = file.read(["file_name"]).column(0).to_pylist()
                sides = [int(side) for side in metadata["size"].split("x")]
                shape, classes = (sides[0], sides[-1]), tuple(metadata["classes"].split(","))
                epoch, packed = int(metadata.get("epoch", 0)), metadata.get("packed", "")
        except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError) as error:
            raise DamagedMapsError(f"{path} cannot be read ({_first_line(error)})") from error
        return cls(path, shape, classes, epoch, {name: row for row, name in enumerate(names)}, packed)

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
                        cell = pa.decompress(cell, len(self.classes) * self.shape[0] * self.shape[1], codec=self.packed)
                    differences = np.frombuffer(cell, np.uint8)
                    rows = differences.reshape(len(self.classes), *self.shape)
                except (OSError, pa.ArrowException, ValueError) as error:
                    raise DamagedMapsError(f"{self.path}: {name} cannot be read ({_first_line(error)})") from error
                yield _added_up(rows)


def _added_up(differences: NDArray[np.uint8]) -> Map:
    """Return the sums over the rows so far, (C, H, W), modulo 256; whole rows at a time, 3 times as fast as numpy's."""
    rows = np.ascontiguousarray(differences.transpose(1, 0, 2))
    for row in range(1, len(rows)):
        rows[row] += rows[row - 1]
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
