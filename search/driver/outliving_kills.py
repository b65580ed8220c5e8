"""Lets a search outlive a worker that Ray's memory monitor kills.

Ray tells of it by an OutOfMemoryError, which is neither of the two errors that Tune's actor manager (Ray 2.60) knows;
it would end the whole search.
"""

from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

_known = RayActorManager._actor_task_failed


def _task_failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
    if isinstance(exception, OutOfMemoryError):
        exception = RayActorError(error_msg=f"OutOfMemoryError: {exception}")
    _known(self, tracked_actor_task, exception)


def outlive_killed_workers() -> None:
    """Have Tune treat a worker that the memory monitor killed as any other that died."""
    RayActorManager._actor_task_failed = _task_failed  # type: ignore[method-assign]
