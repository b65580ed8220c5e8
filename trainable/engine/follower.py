"""A process that trains another GPU's part of a trial's batches, see `trainable/engine/replicas.py`."""

import json
import os
import pickle
import sys
import threading

from trainable.engine.fold_training import FoldTraining
from trainable.engine.replicas import MemoryShortError, Orders, join
from trainable.machine.device import OutOfMemoryError, is_memory_short


def follow(orders: Orders) -> None:
    """Take the steps that the leader takes, until it says that there are no more."""
    part = orders.part
    join(part, orders.meeting, orders.config.device)
    training = FoldTraining(orders.config, orders.data, part=part, goes_on=orders.folder if orders.resume else None)
    if orders.resume:
        training.restore(orders.folder)
    if orders.beyond:
        training.spare_memory(orders.beyond)
    while order := part.told():
        epoch, val_mious = order
        training.epoch(epoch, val_mious)


def main() -> int:
    """Read the orders from the leader and follow; returns the exit status."""
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    orders = pickle.loads(sys.stdin.buffer.read(size))
    threading.Thread(target=_end_with_leader, daemon=True).start()
    try:
        follow(orders)
    except Exception as error:
        short = isinstance(error, MemoryShortError | OutOfMemoryError) or is_memory_short(error)
        first = (str(error).splitlines() or [""])[0]
        text = f"on GPU {orders.part.rank} of {orders.part.count}: {type(error).__name__}: {first}"
        sys.stdout.write(json.dumps({"kind": "memory" if short else "other", "message": text}) + "\n")
        return 1
    return 0


def _end_with_leader() -> None:
    """End this process when the leader is gone: it may be waiting for it in the midst of a step."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
