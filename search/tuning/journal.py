"""Optuna's journal, as one writer keeps it safe: cut-off ends are mended, and a full disk is waited out.

The format is that of Optuna's own file backend, so optuna-dashboard opens it.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, json_to_distribution
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from trainable.storage.disk_full import with_room


class Journal(BaseJournalBackend):
    """A journal of which this process is the only writer; the run's driver is (see `search/run_state/heartbeat.py`)."""

    def __init__(self, path: Path):
        """Open a journal, or begin one; what follows its last sound line is cut off."""
        self.path = path
        self.logs, self.size = read_sound(path)
        self.first = 0  # number of the first log that is kept in memory
        if path.exists() and path.stat().st_size > self.size:
            os.truncate(path, self.size)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the logs from a number on; what its reader has seen, it does not ask for again."""
        if log_number_from < self.first:
            self.logs, self.first = read_sound(self.path)[0], 0
        del self.logs[: log_number_from - self.first]
        self.first = log_number_from
        return list(self.logs)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write logs, all or none of them, to the disk."""
        content = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with_room(lambda: self._append(content), self.path)
        self.size += len(content)
        self.logs += json.loads(b"[" + b",".join(content.splitlines()) + b"]")

    def _append(self, content: bytes) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:  # a buffer would be flushed behind what is cut off below
                unwritten = memoryview(content)
                while unwritten:
                    unwritten = unwritten[file.write(unwritten) :]
                os.fsync(file.fileno())
        except OSError:
            os.truncate(self.path, self.size)
            raise


def cut_at_damage(path: Path) -> None:
    """Cut a journal off before the first line that Optuna cannot apply."""
    result, size = JournalStorageReplayResult("nobody"), 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            result.apply_logs([json.loads(line)])
        except Exception:  # it expects its own lines only
            break
        size += len(line)
    os.truncate(path, size)


def read_sound(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the logs of a journal up to the first that is cut off or damaged, and their length in bytes."""
    logs: list[dict[str, Any]] = []
    size = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            log = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(log, dict):
            break
        logs.append(log)
        size += len(line)
    return logs, size


def directions(path: Path) -> list[int]:
    """Return the directions of a journal's study, as Optuna numbers them, or [] without one; nothing is written."""
    for log in read_sound(path)[0]:
        if log.get("op_code") == JournalOperation.CREATE_STUDY and isinstance(log.get("directions"), list):
            return log["directions"]
    return []


def choices(path: Path, start: int = 0) -> dict[str, tuple[Any, ...]]:
    """Return what a journal's trials, from one on, have chosen from, by parameter; nothing is written.

    A trial that was handed out has the number that its study gave it, as a run has one study.
    """
    chosen_from: dict[str, tuple[Any, ...]] = {}
    created = 0
    for log in read_sound(path)[0]:
        drawn: dict[str, Any] = {}
        if log.get("op_code") == JournalOperation.CREATE_TRIAL:
            drawn = (log.get("distributions") or {}) if created >= start else {}
            created += 1
        elif log.get("op_code") == JournalOperation.SET_TRIAL_PARAM and log.get("trial_id", 0) >= start:
            drawn = {log["param_name"]: log["distribution"]}
        for name, encoded in drawn.items():
            distribution = json_to_distribution(encoded)
            if isinstance(distribution, CategoricalDistribution):
                chosen_from.setdefault(name, distribution.choices)
    return chosen_from
