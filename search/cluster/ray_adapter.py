"""What the search needs of Ray that its interface does not offer; the only place that touches its private parts.

Written for Ray 2.60. `tests/search/cluster/test_ray_adapter.py` fails where another version differs.
"""

from subprocess import Popen
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.progress_reporter import TrialProgressCallback

_known = RayActorManager._actor_task_failed


def keep_terminal_and_signals() -> None:
    """Keep Ray's messages off the terminal, its logs have them all, and SIGTERM ours, which `ray.init` would take."""
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    ray._private.utils.set_sigterm_handler = lambda handler: None


def own_processes() -> dict[str, Popen[bytes]]:
    """Return the processes of a Ray that this process has started, by what Ray calls them; {} for a cluster's."""
    node = ray._private.worker._global_node
    return {name: infos[0].process for name, infos in node.all_processes.items()} if node else {}


def outlive_killed_workers() -> None:
    """Have Tune treat a worker that the memory monitor killed as any other that died.

    Ray tells of it by an OutOfMemoryError, which is neither of the two errors that Tune's actor manager knows; it would
    end the whole search.
    """
    RayActorManager._actor_task_failed = _task_failed  # type: ignore[method-assign]


def _task_failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
    if isinstance(exception, OutOfMemoryError):
        exception = RayActorError(error_msg=f"OutOfMemoryError: {exception}")
    _known(self, tracked_actor_task, exception)


class Silent(TrialProgressCallback):
    """Takes the place of Tune's own reporter, which tells of trials that end without a result however quiet it is."""

    def _print(self, msg: str) -> None:
        pass
