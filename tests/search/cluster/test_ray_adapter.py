"""What of Ray's private parts we rely on is there as we know it."""

import inspect

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from search.cluster import ray_adapter


def test_an_actor_that_ran_out_of_memory_is_handed_on_as_one_that_died(monkeypatch):
    handed = []
    monkeypatch.setattr(ray_adapter, "_known", lambda manager, actor, error: handed.append(error))
    for error in (OutOfMemoryError("the node is short"), ValueError("other")):
        ray_adapter._task_failed(None, None, error)
    assert isinstance(handed[0], RayActorError) and "the node is short" in str(handed[0])
    assert isinstance(handed[1], ValueError)


def test_the_places_that_are_replaced_are_there():
    assert list(inspect.signature(RayActorManager._actor_task_failed).parameters) == [
        "self",
        "tracked_actor_task",
        "exception",
    ]
    assert callable(ray._private.worker.print_to_stdstream) and callable(ray._private.utils.set_sigterm_handler)
    assert ray._private.worker._global_node is None or ray_adapter.own_processes()
