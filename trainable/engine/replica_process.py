"""A process that trains another GPU's part of a trial's batches, see `trainable/engine/replicas.py`."""

import json
import os
import sys
import threading
from pathlib import Path

from trainable.engine.fold_training import FoldTraining
from trainable.engine.replicas import MemoryShortError, ReplicaTask, join_process_group
from trainable.machine.device import OutOfMemoryError, is_memory_short


def train(task: ReplicaTask) -> None:
    """Take the steps that rank 0 takes, until it says that there are no more."""
    replica = task.replica
    join_process_group(replica, task.rendezvous, task.config.device)
    resume_from = task.folder if task.resume else None
    training = FoldTraining(task.config, task.data, replica=replica, resume_from=resume_from)
    if resume_from:
        training.restore(resume_from)
    if task.exhausted:
        training.reduce_memory(task.exhausted)
    while order := replica.broadcast():
        epoch, val_mious = order
        training.epoch(epoch, val_mious)


def main() -> int:
    """Train the task in the folder that rank 0 names; returns the exit status."""
    task = ReplicaTask.read(Path(sys.argv[1]))
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    try:
        train(task)
    except Exception as error:
        short = isinstance(error, MemoryShortError | OutOfMemoryError) or is_memory_short(error)
        first = (str(error).splitlines() or [""])[0]
        text = f"on GPU {task.replica.rank} of {task.replica.world_size}: {type(error).__name__}: {first}"
        sys.stdout.write(json.dumps({"kind": "memory" if short else "other", "message": text}) + "\n")
        return 1
    return 0


def _end_with_rank_0() -> None:
    """End this process when rank 0 is gone: it may be waiting for it in the midst of a step."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
