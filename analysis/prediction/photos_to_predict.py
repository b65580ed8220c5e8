"""The photos of a folder that are there to be predicted."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trainable.coco.json_file import listed_names
from trainable.data_errors import DataError
from trainable.formats.reading import find_test_photos
from trainable.images.photo_files import SUFFIXES

OTHER_SUFFIXES = (".heic", ".heif", ".hif", ".avif", ".gif", ".jp2", ".j2k", ".jxl")
"""How names of photos end that are of other formats: they are told of, and read where they only are named so."""


def names_to_predict(root: Path) -> Iterator[str]:
    """Yield the names of the photos that are to be predicted.

    They are those of `test.json` in a folder or of the test split of its layout or, where there is none, of all in it
    and below.

    Raises:
        ValueError: no such folder, or a damaged test.json.
    """
    if not root.is_dir():
        why = f"is a file; name the folder that holds it, {root.parent}" if root.exists() else "does not exist"
        raise ValueError(f"--data {root} {why}; name a folder with test.json, or of photos")
    listing = root / "test.json"
    if listing.exists():
        yield from dict.fromkeys(listed_names(listing))
    elif found := _test_split(root):
        yield from found
    else:
        paths = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES + OTHER_SUFFIXES)
        # Hidden files with the names of photos are what macOS and notebooks keep beside them.
        visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
        yield from sorted(path.as_posix() for path in visible)


def _test_split(root: Path) -> tuple[str, ...]:
    """Return the test photos of a data set of any layout; none of a folder of photos alone, which is no data set."""
    with suppress(DataError):
        return find_test_photos(root)
    return ()
