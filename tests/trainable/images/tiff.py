"""Writes TIFF files of any samples, planes and order of bytes: Pillow itself writes only a few."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import NDArray

SHORT, LONG = 3, 4
KINDS = {"u": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path,
    pixels: NDArray,
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    packed: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> None:
    """Write pixels (H, W, C).

    Args:
        path: the file.
        pixels: samples of any type.
        photometric: 0 white is zero, 1 grey, 2 RGB, 5 CMYK, 6 YCbCr, 8 Lab.
        order: of the bytes, `<` or `>`.
        planar: one plane after the other rather than pixel by pixel.
        packed: by deflate.
        tags: more tags, of type SHORT, over those it writes.
    """
    height, width, channels = pixels.shape
    ordered = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [ordered[:, :, index].tobytes() for index in range(channels)] if planar else [ordered.tobytes()]
    planes = [zlib.compress(plane) for plane in planes] if packed else planes
    shorts = {
        256: [width],
        257: [height],
        258: [pixels.dtype.itemsize * 8] * channels,
        259: [8 if packed else 1],
        262: [photometric],
        277: [channels],
        278: [height],
        284: [2 if planar else 1],
        339: [KINDS[pixels.dtype.kind]] * channels,
        **(tags or {}),
    }
    starts = [8 + sum(len(plane) for plane in planes[:index]) for index in range(len(planes))]
    entries = {tag: (SHORT, values) for tag, values in shorts.items()}
    entries |= {273: (LONG, starts), 279: (LONG, [len(plane) for plane in planes])}
    body = b"".join(planes) + b"\0" * (sum(map(len, planes)) % 2)
    directory, behind = struct.pack(f"{order}H", len(entries)), b""
    after = 8 + len(body) + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        raw = struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'L'}", *values)
        field = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}L", after + len(behind))
        behind += raw if len(raw) > 4 else b""
        directory += struct.pack(f"{order}HHL", tag, kind, len(values)) + field
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8 + len(body))
    path.write_bytes(start + body + directory + struct.pack(f"{order}L", 0) + behind)
