"""Out-of-fold probabilities in little space: class probabilities of validation photos as whole numbers in parquet.

One row per photo, a row group each, so that a reader takes the photos it wants:

    file_name       the photo
    probabilities   C x S x S bytes, the probability of each class times 255; each row of pixels less the row above it,
                    modulo 256 (most differences are 0), compressed by zstd

S is the training size, or 256 where that is larger: then the pixels are those at which the competition's score looks.
Rounding never changes which class is the likeliest, so class maps, and mIoU, follow from the file without an error.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.artifacts import write_bytes
from trainable.cache import SCORE_SIZE
from trainable.coco import CLASSES
from trainable.metrics import resize_classes

Map = NDArray[np.uint8]
"""Probabilities times 255 of one photo, (C, S, S)."""


class DamagedMapsError(ValueError):
    """A file of probabilities cannot be read."""


def quantised(logits: Tensor) -> Tensor:
    """Return the probabilities times 255 of logits (N, C, H, W), uint8 (N, C, S, S), S at most 256."""
    size = min(SCORE_SIZE, logits.shape[-1])
    return rounded(resize_classes(logits.flatten(0, 1), size).unflatten(0, logits.shape[:2]).softmax(1))


def rounded(probabilities: Tensor) -> Tensor:
    """Return probabilities (N, C, H, W) times 255 as uint8; the likeliest class stays the likeliest."""
    top, classes = probabilities.max(1, keepdim=True)
    whole = (probabilities * 255).round_().to(torch.uint8)
    # Where another class rounds to the same number, the first of them would be taken for the likeliest.
    tied = whole.max(1, keepdim=True).indices != classes
    return whole.scatter_(1, classes, (top * 255).round_().to(torch.uint8) + tied.to(torch.uint8))


def encoded(maps: Sequence[Map] | NDArray[np.uint8]) -> list[bytes]:
    """Return each map (C, S, S) with its rows less the rows above, as the file holds it before compression."""
    return [np.diff(each, axis=1, prepend=np.uint8(0)).tobytes() for each in maps]


def write_maps(path: Path, file_names: Sequence[str], rows: Sequence[bytes], size: int) -> None:
    """Write the file; `rows` as `encoded` gives them, of maps of `size` pixels per side."""
    schema = pa.schema(
        [("file_name", pa.string()), ("probabilities", pa.binary())],
        {"classes": ",".join(CLASSES), "size": str(size), "scale": "255", "rows": "less the row above, modulo 256"},
    )
    table = pa.table({"file_name": list(file_names), "probabilities": list(rows)}, schema)
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, row_group_size=1, compression="zstd", compression_level=1, use_dictionary=False,
        write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class Maps:
    """A file of probabilities, read photo by photo."""

    path: Path
    size: int  # pixels per side
    row_of: dict[str, int]  # by file name

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
        except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
            raise DamagedMapsError(f"{path} cannot be read ({_first_line(error)})") from error
        if classes != CLASSES:
            raise DamagedMapsError(f"{path} is of the classes {', '.join(classes)}, not {', '.join(CLASSES)}")
        return cls(path, size, {name: row for row, name in enumerate(names)})

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
                    raw = file.read_row_group(self.row_of[name], ["probabilities"]).column(0)[0].as_buffer()
                    rows = np.frombuffer(raw, np.uint8).reshape(len(CLASSES), self.size, self.size)
                except (OSError, pa.ArrowException, ValueError) as error:
                    raise DamagedMapsError(f"{self.path}: {name} cannot be read ({_first_line(error)})") from error
                yield np.add.accumulate(rows, axis=1, dtype=np.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]



def encoded_logits(logits: Tensor) -> list[bytes]:
    """Return logits (N, C, H, W) as rows for `write_maps`."""
    return encoded(quantised(logits).cpu().numpy())
