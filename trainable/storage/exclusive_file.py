"""Creates a file that must not be there yet, so that of several who try at the same moment only one succeeds."""

import time
from pathlib import Path

from pyarrow import fs

from trainable.storage.remote import Remote

SETTLED_S = 3.0
"""Seconds after which whoever found no file of a name has written one: longer than a small write takes."""


def create(folder: Path, name: str, content: bytes) -> bool:
    """Create a file; tells whether it was this call that did.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    try:
        with (folder / name).open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def create_at(remote: Remote, name: str, content: bytes) -> bool:
    """Create a file in a folder at a URI; tells whether it is this content that is there now.

    S3 decides between those who try at the same moment. Of storage that cannot, and has no file of that name, the last
    to write wins, and whoever wrote looks again after `SETTLED_S`.

    Raises:
        OSError: the storage cannot be reached or refuses us.
    """
    system, root = remote.place
    if isinstance(system, fs.LocalFileSystem):
        system.create_dir(root, recursive=True)
        return create(Path(root), name, content)
    if remote.exists(name):
        return False
    if not (isinstance(system, fs.S3FileSystem) and _put_on_s3(f"{root}/{name}", content)):
        remote.write(name, content)
    time.sleep(SETTLED_S)  # there are servers of S3 that know no conditions
    return remote.read(name) == content


def _put_on_s3(path: str, content: bytes) -> bool:
    """Put an object where there is none; tells whether S3 has decided on it, either way."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.partition("/")
    try:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        return error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict")
    except BotoCoreError:
        return False  # it knows no region or credentials
    return True
