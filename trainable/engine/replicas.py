"""Several GPUs of one node train one trial: processes with the same weights, each on its part of every batch.

Rank 0 is the training's own process: it alone saves, reports and is told to halt. The others take the same steps
(`trainable/engine/replica_process.py`) and hold nothing that is not in rank 0 too, so they are simply ended when it
stops. The loss is that of the whole batch, whatever loss it is, and batch norm sees the whole batch: the
gradient is that of one GPU with the same batch. Source: Li et al. 2020 (PyTorch Distributed).
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainable.config import TrialConfig
from trainable.dataset.fold_data import FoldData
from trainable.run_folder.folders import TrialFolder

PATIENCE = timedelta(minutes=30)
"""For the other ranks at each step: the longest that rank 0 may be busy with what it alone does."""

END_S = 10.0
"""Seconds that a process has to say why it has failed."""

COMMAND = [sys.executable, "-m", "trainable.engine.replica_process"]

BROKEN_OFF = (RuntimeError, dist.DistBackendError, dist.DistNetworkError, torch.AcceleratorError)
"""What a step raises when another process is gone."""


class MemoryShortError(RuntimeError):
    """Memory ran short on one of several GPUs: all begin again with less."""


class ReplicaError(RuntimeError):
    """A process that trains another GPU's part has failed."""


@dataclass(frozen=True)
class Replica:
    """Which of several processes this is."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the training's own process."""
        return self.rank == 0

    def synchronise(self, network: Any, device: str) -> Any:
        """Return a network whose batch norms see the whole batch; on a CPU, where PyTorch has none, as it is."""
        return nn.SyncBatchNorm.convert_sync_batchnorm(network) if self.world_size > 1 and device == "cuda" else network

    def parallel(self, model: nn.Module) -> DistributedDataParallel:
        """Return a model whose gradients are averaged over the processes as they come; for what now has gradients.

        Some encoders have weights that their decoder does not use.
        """
        return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)

    def all_gather(self, part: Tensor) -> Tensor:
        """Return the whole batch of a part (B, ...), the same in all processes; its own part keeps its gradient."""
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.world_size)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)

    def gather(self, value: Any) -> list[Any]:
        """Return all processes' values, in rank 0; nothing elsewhere."""
        values: list[Any] = [None] * self.world_size if self.is_main else []
        dist.gather_object(value, values if self.is_main else None)
        return values

    def broadcast(self, value: Any = None) -> Any:
        """Return what rank 0 tells all."""
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


ALONE = Replica()

TASK = "task.json"

MemoryLevel = tuple[int, bool]
"""Parts that a batch is split into, and whether activation checkpointing was tried: what comes later spares more."""


@dataclass(frozen=True)
class ReplicaTask:
    """What another process needs to train its part."""

    replica: Replica
    config: TrialConfig  # as applied
    data: FoldData
    folder: TrialFolder
    resume: bool
    exhausted: MemoryLevel | None  # the memory that was spared when it ran short
    rendezvous: str  # file by which the processes find each other

    def write(self, folder: Path) -> None:
        """Write it to an empty folder of this node's, arrays of a cache by the files they are in."""
        content = {
            "replica": [self.replica.rank, self.replica.world_size],
            "config": self.config.to_dict(),
            "data": self.data.described(folder),
            "folder": str(self.folder.path),
            "resume": self.resume,
            "exhausted": self.exhausted,
            "rendezvous": self.rendezvous,
        }
        (folder / TASK).write_text(json.dumps(content))

    @classmethod
    def read(cls, folder: Path) -> "ReplicaTask":
        """Read what `write` has written."""
        content = json.loads((folder / TASK).read_text())
        return cls(
            replica=Replica(*content["replica"]),
            config=TrialConfig.from_dict(content["config"]),
            data=FoldData.from_described(content["data"]),
            folder=TrialFolder(Path(content["folder"])),
            resume=content["resume"],
            exhausted=tuple(content["exhausted"]) if content["exhausted"] else None,
            rendezvous=content["rendezvous"],
        )


def join_process_group(replica: Replica, rendezvous: str, device: str) -> None:
    """Meet the other processes of the node.

    Raises:
        RuntimeError: they did not come.
    """
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")  # all are on this node
    if device == "cuda":
        torch.cuda.set_device(replica.rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{rendezvous}", rank=replica.rank, world_size=replica.world_size, timeout=PATIENCE
    )


class ReplicaGroup:
    """Rank 0's view of the processes that train one trial; a context that ends them.

    What fails in another process ends rank 0's step; `cause_of` then gives `ReplicaError` or `MemoryShortError`.
    """

    def __init__(
        self,
        count: int,
        config: TrialConfig,
        data: FoldData,
        folder: TrialFolder,
        resume: bool,
        exhausted: MemoryLevel | None,
    ):
        if config.batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of the {count} GPUs of a trial, found {config.batch_size}; choose "
                "another --batch-size or --gpus-per-trial"
            )
        self.replica, self._config = Replica(0, count), config
        self._task = (config, data, folder, resume, exhausted)
        self._failure: dict[str, str] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ending = False

    def __enter__(self) -> "ReplicaGroup":
        if self.replica.world_size == 1:
            return self
        self._folder = tempfile.TemporaryDirectory(prefix="trashsweep-replicas-")
        rendezvous = str(Path(self._folder.name) / "rendezvous")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        for rank in range(1, self.replica.world_size):
            folder = Path(self._folder.name) / str(rank)
            folder.mkdir()
            ReplicaTask(Replica(rank, self.replica.world_size), *self._task, rendezvous).write(folder)
            process = subprocess.Popen(
                [*COMMAND, str(folder)],
                stdin=subprocess.PIPE,  # whose end tells the process that this process is gone
                stdout=subprocess.PIPE,
                env=environment,
            )
            self._processes.append(process)
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        try:
            join_process_group(self.replica, rendezvous, self._config.device)
        except BaseException:
            self.__exit__()  # which nobody else calls of a context that was not entered
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.replica.world_size == 1:
            return
        self._ending = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        with contextlib.suppress(Exception):  # a group whose others are gone
            dist.destroy_process_group()
        self._folder.cleanup()

    def broadcast(self, epoch: Any) -> None:
        """Tell the other processes which epoch comes next; None ends them."""
        if self.replica.world_size > 1:
            self.replica.broadcast(epoch)

    def cause_of(self, error: Exception) -> Exception:
        """Return what has ended a step: another process's failure where there was one, else the error itself."""
        deadline = time.monotonic() + END_S
        while self._processes and type(error) in BROKEN_OFF and not self._failure and time.monotonic() < deadline:
            time.sleep(0.05)  # the connection breaks before the one who broke it has said why
        if self._failure is None:
            return error
        kind, message = self._failure["kind"], self._failure["message"]
        return (MemoryShortError if kind == "memory" else ReplicaError)(message)

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for a process's end; where that comes unasked, free rank 0, which waits for it."""
        assert process.stdout
        told = process.stdout.read().decode()
        process.wait()
        if self._ending:
            return
        try:
            self._failure = json.loads(told.splitlines()[-1])
        except (ValueError, IndexError):
            self._failure = {"kind": "other", "message": f"a process of this training ended ({process.returncode})"}
        with contextlib.suppress(Exception):
            dist.distributed_c10d._abort_process_group()
