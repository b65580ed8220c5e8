"""Sees to it that only one process trains in a trial's folder.

A node that froze is taken for dead after a minute and its trials go on elsewhere; should it wake up, it must not
write.
"""

import os
import secrets

from trainable.run_folder.folders import TrialFolder
from trainable.storage.atomic_write import write_bytes

OWNER = ".owner"


class SupersededError(Exception):
    """Another process has taken the trial over."""


class Claim:
    """One process's hold of a trial's folder, until another takes it."""

    def __init__(self, folder: TrialFolder):
        self.path = folder.path / OWNER
        self.name = f"{os.uname().nodename} {os.getpid()} {secrets.token_hex(8)}".encode()
        folder.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, self.name)

    def check(self) -> None:
        """Raise SupersededError if the folder is another process's by now, or the trial has ended."""
        try:
            owner = self.path.read_bytes()
        except FileNotFoundError:
            owner = b"nobody: the trial has ended"
        if owner != self.name:
            raise SupersededError(f"{self.path.parent} is trained by {owner.decode(errors='replace')}")


def release(folder: TrialFolder) -> None:
    """Take the folder from whoever holds it: its trial has ended."""
    (folder.path / OWNER).unlink(missing_ok=True)
