"""Folders on storage that has no path here, such as s3://BUCKET/runs/NAME, and their working copies on this machine.

A working copy holds files as they were last pulled or pushed. Objects are replaced whole, so a reader never sees a
part. Any URI that pyarrow knows works: s3, gs, abfss, hdfs, file.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow
from pyarrow import fs

from trainable.storage.atomic_write import temporary_of
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.disk_full import FULL, with_room

Result = TypeVar("Result")

ORIGIN = ".origin.json"
"""File in a working copy that tells its URI."""

ATTEMPTS = 5
"""How often a request is made before an error counts, a second later at first, then twice as late each time."""

REFUSALS = ("ACCESS_DENIED", "SIGNATURE", "ACCESS_KEY", "NO_SUCH_BUCKET", "AccessDenied", "NoSuchBucket")
"""What S3 answers where asking again is of no use."""

BLOCK = 1 << 22  # bytes


def is_uri(text: object) -> bool:
    """Tell whether something names a place by scheme, like s3://BUCKET/runs."""
    return bool(re.match(r"[a-z][a-z0-9+.-]+://", str(text)))


class Remote:
    """A folder at a URI. It travels between processes: what it holds open it opens again."""

    def __init__(self, uri: str):
        self.uri = uri.rstrip("/")

    def __reduce__(self) -> tuple[type["Remote"], tuple[str]]:
        return Remote, (self.uri,)

    def __truediv__(self, name: str) -> "Remote":
        """Return a folder inside."""
        return Remote(f"{self.uri}/{name}")

    @cached_property
    def place(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the folder's path there."""
        try:
            system, path = fs.FileSystem.from_uri(self.uri)
        except (ValueError, OSError, pyarrow.ArrowException) as error:
            problem = f"{self.uri} cannot be opened ({error}); use a path, or a URI like s3://BUCKET/runs"
            raise ValueError(problem) from error
        return system, path

    def files(self) -> dict[str, tuple[int, int]]:
        """Return size in bytes and time of change in ns, of whole seconds, of every file inside, by its name there."""
        system, root = self.place
        infos = self._try(lambda: system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True)))
        return {info.path[len(root) + 1 :]: _facts(info) for info in infos if info.type == fs.FileType.File}

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of that name."""
        return self._stat(name) is not None

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: there is none.
            OSError: the storage cannot be reached, or refuses us.
        """
        system, root = self.place

        def read() -> bytes:
            with system.open_input_file(f"{root}/{name}") as file:
                return file.read()

        return self._try(read)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole."""
        system, root = self.place

        def write() -> None:
            if isinstance(system, fs.LocalFileSystem):
                system.create_dir(f"{root}/{name}".rsplit("/", 1)[0], recursive=True)
            with system.open_output_stream(f"{root}/{name}") as file:
                file.write(content)

        self._try(write)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        system, root = self.place
        with contextlib.suppress(FileNotFoundError):
            self._try(lambda: system.delete_file(f"{root}/{name}"))

    def folders(self) -> list[str]:
        """Return the names of the folders inside."""
        return self._listed(fs.FileType.Directory)

    def names(self) -> list[str]:
        """Return the names of the files inside that are in no further folder."""
        return self._listed(fs.FileType.File)

    def _listed(self, kind: fs.FileType) -> list[str]:
        system, root = self.place
        infos = self._try(lambda: system.get_file_info(fs.FileSelector(root, allow_not_found=True)))
        return sorted(info.base_name for info in infos if info.type == kind)

    def pull(self, local: Path, names: Iterable[str] | None = None, leave: tuple[str, ...] = ()) -> None:
        """Bring files that differ into a working copy.

        Args:
            local: the working copy; made if it is not there.
            names: of the files, those that exist of them; None is all.
            leave: ends of names that are not brought.

        Raises:
            OSError: the storage cannot be reached, refuses us, or the disk is full.
        """
        remote_stats = self.files() if names is None else {name: stat for name in names if (stat := self._stat(name))}
        for name, stat in remote_stats.items():
            path = local / name
            if not name.endswith(leave or ("/",)) and _inside(local, path) and _stat(path) != stat:
                with_room(partial(self._try, partial(self._download, name, path, stat)), path)

    def push(self, local: Path, names: Iterable[str] | None = None) -> None:
        """Send files of a working copy that differ.

        Args:
            local: the working copy.
            names: of the files, those that exist of them; None is all but hidden ones.

        Raises:
            OSError: the storage cannot be reached or refuses us.
        """
        if names is None:
            remote_stats = self.files()
            names = [
                str(path.relative_to(local))
                for path in sorted(local.rglob("*"))
                if path.is_file() and not path.name.startswith(".")
            ]
        else:
            names = [name for name in names if (local / name).is_file()]
            remote_stats = {name: stat for name in names if (stat := self._stat(name))}
        for name in names:
            if remote_stats.get(name) != _stat(local / name):
                self._try(partial(self._upload, local / name, name))

    def _download(self, name: str, path: Path, stat: tuple[int, int]) -> None:
        system, root = self.place
        path.parent.mkdir(parents=True, exist_ok=True)
        part = temporary_of(path)
        try:
            with system.open_input_file(f"{root}/{name}") as source, part.open("wb") as target:
                while block := source.read(BLOCK):
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
            os.utime(part, ns=(stat[1], stat[1]))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _upload(self, path: Path, name: str) -> None:
        system, root = self.place
        if isinstance(system, fs.LocalFileSystem):
            system.create_dir(f"{root}/{name}".rsplit("/", 1)[0], recursive=True)
        before = path.stat().st_mtime_ns
        with path.open("rb") as source, system.open_output_stream(f"{root}/{name}") as target:
            while block := source.read(BLOCK):
                target.write(block)
        stat = self._stat(name)
        if stat and path.stat().st_mtime_ns == before:  # it was not written anew meanwhile
            os.utime(path, ns=(stat[1], stat[1]))

    def _stat(self, name: str) -> tuple[int, int] | None:
        system, root = self.place
        info = self._try(lambda: system.get_file_info(f"{root}/{name}"))
        return _facts(info) if info.type == fs.FileType.File else None

    def _try(self, request: Callable[[], Result]) -> Result:
        """Make a request, again after a while if the storage does not answer."""
        for attempt in range(ATTEMPTS):
            try:
                return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno in FULL:
                    raise
                refused = any(word in str(error) for word in REFUSALS)
                if refused or attempt == ATTEMPTS - 1:
                    raise OSError(
                        f"{self.uri}: {str(error).splitlines()[0]}. See that the bucket exists and that credentials "
                        "(AWS_ACCESS_KEY_ID, AWS_PROFILE, or the node's role) and AWS_ENDPOINT_URL, where it is not "
                        "AWS's own, hold on every node"
                    ) from error
                time.sleep(2.0**attempt)
        raise AssertionError


def working_copy(uri: str, cache_dir: Path) -> Path:
    """Return where the files of a URI are kept on this machine."""
    parent, name = uri.rstrip("/").rsplit("/", 1)
    return cache_dir.absolute() / "remote" / hashlib.sha256(parent.encode()).hexdigest()[:16] / name


def local_copy(run: str | Path, cache_dir: Path | None = None, whole: bool = False) -> Path:
    """Return a path as it is, and for a URI its working copy with everything an analysis needs, or the `whole` run.

    Raises:
        ValueError: nothing is there.
        OSError: the storage cannot be reached or refuses us.
    """
    if not is_uri(run):
        return Path(run)
    remote = Remote(str(run))
    local = working_copy(remote.uri, cache_dir or default_cache_dir())
    remote.pull(local, leave=() if whole else ("last.safetensors", "part.safetensors"))
    if not local.is_dir():
        raise ValueError(f"there is nothing at {run}; name a run, like s3://BUCKET/runs/NAME")
    mark_origin(local, remote.uri)
    return local


def run_option(text: str, whole: bool = False) -> Path:
    """Return what a command line names as run folder, by path or URI, as a path on this machine."""
    try:
        return local_copy(text, whole=whole)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_runs(parser: argparse.ArgumentParser, *others: str, required: bool = True) -> None:
    """Give a command the option --run, for one run folder or several: --run A B, or --run A --run B.

    Args:
        parser: of the command.
        others: further spellings of the option.
        required: whether the command needs a run.
    """
    parser.add_argument(
        "--run",
        *others,
        type=run_option,
        nargs="+",
        action="extend",
        required=required,
        metavar="DIR",
        help="run folders, such as runs/NAME",
    )


def mark_origin(local: Path, uri: str) -> None:
    """Note in a working copy where it is of."""
    (local / ORIGIN).write_text(json.dumps({"uri": uri}))


def push_back(local: Path, folder: str) -> None:
    """Send a folder inside a working copy to where that is of; any other folder just stays."""
    origin = local / ORIGIN
    if origin.exists():
        (Remote(json.loads(origin.read_text())["uri"]) / folder).push(local / folder)


def _facts(info: fs.FileInfo) -> tuple[int, int]:
    """Return size and time of change. Some answers of S3 have parts of a second and some have not."""
    return info.size, info.mtime_ns // 1_000_000_000 * 1_000_000_000


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        stat: Any = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _inside(folder: Path, path: Path) -> bool:
    """Tell whether a name that the storage gave stays in the folder."""
    return Path(os.path.normpath(path)).is_relative_to(folder) and not path.is_symlink()
