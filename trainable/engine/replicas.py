"""Several GPUs of one node train one trial: processes with the same weights, each on its part of every batch.

The training's own process leads: it alone restores, saves, reports and is told to halt. The others follow it through
the same steps (`trainable/engine/follower.py`) and hold nothing that is not in the leader too, so they are simply ended
when it stops. The loss is that of the whole batch, whatever loss it is, and batch norm sees the whole batch: the
gradient is that of one GPU with the same batch. Source: Li et al. 2020 (PyTorch Distributed).
"""

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainable.config import TrialConfig
from trainable.dataset.fold_data import FoldData
from trainable.run_folder.folders import TrialFolder

PATIENCE = timedelta(minutes=30)
"""For the others at each step: the longest that a leader may be busy with what it alone does."""

END_S = 10.0
"""Seconds that a follower has to say why it has failed."""

FOLLOWER = [sys.executable, "-m", "trainable.engine.follower"]

BROKEN_OFF = (RuntimeError, dist.DistBackendError, dist.DistNetworkError, torch.AcceleratorError)
"""What a step raises when another process is gone."""


class MemoryShortError(RuntimeError):
    """Memory ran short on one of several GPUs: all begin again with less."""


class FollowerError(RuntimeError):
    """A process that trains another GPU's part has failed."""


@dataclass(frozen=True)
class Part:
    """Which of several processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the training's own process."""
        return self.rank == 0

    def synchronise(self, network: Any, device: str) -> Any:
        """Return a network whose batch norms see the whole batch; on a CPU, where PyTorch has none, as it is."""
        return nn.SyncBatchNorm.convert_sync_batchnorm(network) if self.count > 1 and device == "cuda" else network

    def parallel(self, model: nn.Module) -> DistributedDataParallel:
        """Return a model whose gradients are averaged over the processes as they come; for what now has gradients.

        Some encoders have weights that their decoder does not use.
        """
        return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)

    def whole(self, part: Tensor) -> Tensor:
        """Return the whole batch of a part (B, ...), the same in all processes; its own part keeps its gradient."""
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of all processes' values."""
        dist.all_reduce(value)
        return value

    def collected(self, value: Any) -> list[Any]:
        """Return all processes' values, in the leader; nothing elsewhere."""
        values: list[Any] = [None] * self.count if self.leads else []
        dist.gather_object(value, values if self.leads else None)
        return values

    def told(self, value: Any = None) -> Any:
        """Return what the leader tells all."""
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


ALONE = Part()

Spared = tuple[int, bool]
"""Parts that a batch is split into, and whether activation checkpointing was tried: what comes later spares more."""


@dataclass(frozen=True)
class Orders:
    """What a follower needs to follow."""

    part: Part
    config: TrialConfig  # as applied
    data: FoldData
    folder: TrialFolder
    resume: bool
    beyond: Spared | None  # the memory that was spared when it ran short
    meeting: str  # file by which the processes find each other

    def packed(self) -> bytes:
        """Return it as bytes, arrays of a cache by the files they are in."""
        buffer = io.BytesIO()
        _Pickler(buffer).dump(self)
        return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and value.base is not None and value.filename:
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        return NotImplemented


def join(part: Part, meeting: str, device: str) -> None:
    """Meet the other processes of the node.

    Raises:
        RuntimeError: they did not come.
    """
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")  # all are on this node
    if device == "cuda":
        torch.cuda.set_device(part.rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{meeting}", rank=part.rank, world_size=part.count, timeout=PATIENCE
    )


class Team:
    """The leader's view of the processes that train one trial; a context that ends them.

    What fails in a follower ends the leader's step, which then raises `FollowerError` or `MemoryShortError`.
    """

    def __init__(
        self, count: int, config: TrialConfig, data: FoldData, folder: TrialFolder, resume: bool, beyond: Spared | None
    ):
        if config.batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of the {count} GPUs of a trial, found {config.batch_size}; choose "
                "another --batch-size or --gpus-per-trial"
            )
        self.part, self._config = Part(0, count), config
        self._orders = (config, data, folder, resume, beyond)
        self._failure: dict[str, str] | None = None
        self._followers: list[subprocess.Popen[bytes]] = []
        self._ending = False

    def __enter__(self) -> "Team":
        if self.part.count == 1:
            return self
        self._meetings = tempfile.TemporaryDirectory(prefix="trashsweep-replicas-")
        meeting = str(Path(self._meetings.name) / "meeting")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        for rank in range(1, self.part.count):
            follower = subprocess.Popen(
                FOLLOWER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            assert follower.stdin
            orders = Orders(Part(rank, self.part.count), *self._orders, meeting).packed()
            follower.stdin.write(len(orders).to_bytes(8, "little") + orders)
            follower.stdin.flush()  # and left open: its end tells the follower that this process is gone
            self._followers.append(follower)
            threading.Thread(target=self._watch, args=(follower,), daemon=True).start()
        join(self.part, meeting, self._config.device)
        return self

    def __exit__(self, *_: object) -> None:
        if self.part.count == 1:
            return
        self._ending = True
        for follower in self._followers:
            follower.kill()
        for follower in self._followers:
            follower.wait()
        with contextlib.suppress(Exception):  # a group whose others are gone
            dist.destroy_process_group()
        self._meetings.cleanup()

    def tell(self, order: Any) -> None:
        """Tell the followers what comes next."""
        if self.part.count > 1:
            self.part.told(order)

    def explained(self, error: Exception) -> Exception:
        """Return what has ended a step: a follower's failure where there was one, else the error itself."""
        deadline = time.monotonic() + END_S
        while self._followers and type(error) in BROKEN_OFF and not self._failure and time.monotonic() < deadline:
            time.sleep(0.05)  # the connection breaks before the one who broke it has said why
        if self._failure is None:
            return error
        kind, message = self._failure["kind"], self._failure["message"]
        return (MemoryShortError if kind == "memory" else FollowerError)(message)

    def _watch(self, follower: "subprocess.Popen[bytes]") -> None:
        """Wait for a follower's end; where that comes unasked, free the leader, which waits for it."""
        assert follower.stdout
        told = follower.stdout.read().decode()
        follower.wait()
        if self._ending:
            return
        try:
            self._failure = json.loads(told.splitlines()[-1])
        except (ValueError, IndexError):
            self._failure = {"kind": "other", "message": f"a process of this training ended ({follower.returncode})"}
        with contextlib.suppress(Exception):
            dist.distributed_c10d._abort_process_group()
