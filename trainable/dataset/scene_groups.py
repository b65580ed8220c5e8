"""Finds photos of one scene by perceptual hash, so that near-duplicates never sit on both sides of a fold."""

from collections.abc import Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

DUPLICATE_BITS = 10
"""Two photos are near-duplicates when at most this many of the 64 bits of their perceptual hashes differ, in any
orientation. Unrelated photos differ in 30 bits on average, in the nearest of eight orientations in 24."""

NEIGHBOUR_BITS = 16
"""The same for photos that are neighbours by name, as frames of one scene are; one in 2,000 unrelated pairs passes."""

NEIGHBOURS = 3
"""Photos at most this many names apart are neighbours."""

STRICTER = ((8, 12), (6, 10), (4, 8))
"""Both numbers of bits, one after the other, where chains of photos would join more than half of them: photos of single
leaves on one ground look alike, and each shows another leaf."""

FEW = 20
"""Of fewer photos one scene may well have most."""


def scene_hashes(image: Image.Image) -> NDArray[np.uint64]:
    """Return the perceptual hashes of a photo in its eight orientations (turned and mirrored), the photo's own first.

    Source: imagehash's pHash (low frequencies of a 32 x 32 grey copy's cosine transform).
    """
    small = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    orientations = [small, *(small.transpose(way) for way in Image.Transpose)]
    bits = np.array([imagehash.phash(orientation).hash.ravel() for orientation in orientations])
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def same_scenes(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return, for each of N photos, which of M others is a near-duplicate, the nearest of them, or -1: (N,).

    Args:
        hashes: (N, 8), see `scene_hashes`.
        others: (M, 8).
    """
    matches = np.full(len(hashes), -1, np.int64)
    for index, row in enumerate(hashes[:, 0]):
        differing = np.bitwise_count(np.asarray(others) ^ row).min(axis=1)
        nearest = int(differing.argmin())
        if differing[nearest] <= DUPLICATE_BITS:
            matches[index] = nearest
    return matches


def group_scenes(hashes: NDArray[np.uint64], file_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the group of each photo, (N,): photos joined by a chain of near-equal hashes share one.

    Where most photos would, they must be nearer than usual.

    Args:
        hashes: (N, 8), see `scene_hashes`.
        file_names: N names; their order tells which photos are neighbours.
    """
    groups = _grouped(hashes, file_names, DUPLICATE_BITS, NEIGHBOUR_BITS)
    for bits in STRICTER:
        if len(groups) < FEW or 2 * np.bincount(groups).max() <= len(groups):
            break
        groups = _grouped(hashes, file_names, *bits)
    return groups


def _grouped(
    hashes: NDArray[np.uint64], file_names: Sequence[str], duplicate_bits: int, neighbour_bits: int
) -> NDArray[np.int64]:
    order = np.argsort(file_names, kind="stable")
    hashes = np.ascontiguousarray(hashes[order])
    group = np.arange(len(hashes))
    for index, row in enumerate(hashes[:, 0]):
        differing = np.bitwise_count(hashes[:index] ^ row)
        near = differing.min(axis=1) <= duplicate_bits
        near[-NEIGHBOURS:] |= differing[-NEIGHBOURS:, 0] <= neighbour_bits
        for other in np.flatnonzero(near):
            group[group == group[other]] = group[index]
    in_given_order = np.empty_like(group)
    in_given_order[order] = group
    return np.unique(in_given_order, return_inverse=True)[1].astype(np.int64)


def on_both_sides(groups: NDArray[np.int64], validates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the groups that have photos that validate and photos that do not, see `group_scenes`.

    Args:
        groups: (N,).
        validates: (N,).
    """
    return np.intersect1d(groups[validates], groups[~validates])
