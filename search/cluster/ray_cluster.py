"""The Ray that a search runs on: its own on this machine, or a cluster that is running already."""

import contextlib
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml
from rich.console import Console

from search.cluster.ray_adapter import keep_terminal_and_signals, own_processes
from search.cluster.ray_requirements import ANSWER_S, check_answers
from search.ending.signals import take_back, unheard_by_children
from search.settings.allocation import Machine
from search.worker.build_checks import gpu_memory_gb
from trainable.counts import counted
from trainable.machine.cores import cpu_count

REPOSITORY = Path(__file__).parents[2]

OBJECT_STORE_BYTES = 200_000_000
"""Photos are shared by memory map, so Ray's object store carries next to nothing."""

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` leaves the cluster's configuration on the head node."""

LOST_S = 30
"""Seconds without an answer after which a cluster counts as gone; Ray itself ends the driver after 60, unsaid."""

NICENESS = "RAY_worker_niceness"
"""Ray's environment variable for the priority of workers, 15 where it is not set: anything else comes before them.

Whoever starts a search wants it done, so that ours run at 0, as any other process, on a cluster's nodes too.
"""

VITAL = ("gcs_server", "raylet")
"""Processes without which a Ray is none."""

FIRST_NODE_S = 1200
"""Seconds that the first node of a growing cluster may take: an instance starts, installs PyTorch and joins."""


def start_ray() -> None:
    """Start a Ray on this machine alone, that nobody else is let into."""
    os.environ.setdefault(NICENESS, "0")
    keep_terminal_and_signals()
    with unheard_by_children():
        ray.init(
            address="local",
            num_cpus=cpu_count(),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    take_back()


def stop_ray() -> None:
    """Leave Ray, and end it where it is this process's own."""
    for name, process in own_processes().items():
        if name not in VITAL:  # deaf to SIGTERM, each would be given a second
            process.kill()
    ray.shutdown()


class RayWatch:
    """Tells whether the Ray that a search runs on is gone: of this process's own, or a cluster's head node."""

    def __init__(self) -> None:
        self.answered = time.monotonic()

    def lost(self) -> bool:
        """Return whether it is gone; of a cluster, whether its head has not answered for `LOST_S`."""
        if own := own_processes():
            return any(name in VITAL and process.poll() is not None for name, process in own.items())
        if not ray.is_initialized():
            return True
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=ANSWER_S):
            self.answered = time.monotonic()
        return time.monotonic() - self.answered > LOST_S


def join_ray(address: str) -> None:
    """Join a running cluster; our code travels there, unless a submitted job has brought it already.

    Raises:
        ValueError: there is none, or it does not let us in.
    """
    if address != "auto":
        check_answers(address)
    keep_terminal_and_signals()
    travels = {} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"working_dir": str(REPOSITORY)}
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(ANSWER_S))  # seconds of Ray's own tries
    environment = {**_environment(), **travels}
    with _ray_unheard():
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=environment)
        except ConnectionError as error:
            raise ValueError(
                f"--address {address}: no Ray cluster lets this machine in ({str(error).splitlines()[0]}). Start one "
                "(ray up cluster.yaml, or RAY_AUTH_MODE=token ray start --head) and take its token: ~/.ray/auth_token "
                "must be the same on all nodes"
            ) from error
    take_back()


@contextmanager
def _ray_unheard() -> Iterator[None]:
    """Keep Ray's C++ library, which no logging level reaches before it has joined, from writing on the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with tempfile.TemporaryFile() as elsewhere:
            os.dup2(elsewhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _environment() -> dict[str, Any]:
    """Return what each worker process gets: GPUs stay visible to what asks for none, such as the preflight."""
    return {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", NICENESS: os.environ.get(NICENESS, "0")}}


def find_machine(gpus: int | None, console: Console) -> Machine:
    """Tell what there is to run on; of a cluster that has no GPU yet but can grow, what it may grow to.

    Args:
        gpus: wait for so many on a cluster that grows; None takes what is there, or what its configuration allows.
        console: told of the wait.

    Raises:
        ValueError: the first GPU does not come in time.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [(int(resources.get("CPU", 0)), int(resources.get("GPU", 0))) for resources in nodes]
    gpus_now = sum(node_gpus for _, node_gpus in shares)
    kinds = growth(BOOTSTRAP.expanduser()) if gpus or not gpus_now else []
    if (kinds and (gpus or 0) > gpus_now) or (kinds and not gpus_now):
        shares = _grown(shares, kinds, gpus)
        message = f"the cluster grows to {counted(sum(node_gpus for _, node_gpus in shares), 'GPU')}"
        console.print(f"{message}; waiting for the first one" if not gpus_now else message, highlight=False)
    elif gpus and gpus > gpus_now:
        raise ValueError(
            f"--gpus {gpus} is more than the {counted(gpus_now, 'GPU')} of this cluster, and it does not grow"
        )
    total_gpus = sum(node_gpus for _, node_gpus in shares)
    memory = _gpu_memory(FIRST_NODE_S if not gpus_now else 300) if total_gpus else None
    useful = tuple(share for share in shares if (share[1] if total_gpus else share[0]))
    if not useful:
        raise ValueError("no node of the cluster has a CPU core or GPU for trials; add worker nodes (ray start)")
    return Machine(sum(cores for cores, _ in useful), total_gpus, memory, useful)


def growth(config: Path) -> list[tuple[int, int, int]]:
    """Return cores, GPUs and greatest number of each kind of GPU node that a cluster's configuration lets it add."""
    if not config.exists():
        return []
    types = (yaml.safe_load(config.read_text()) or {}).get("available_node_types", {})
    kinds = [(node_type.get("resources", {}), node_type.get("max_workers", 0)) for node_type in types.values()]
    return [
        (int(resources.get("CPU", 1)), int(resources["GPU"]), most)
        for resources, most in kinds
        if resources.get("GPU") and most
    ]


def _grown(nodes: list[tuple[int, int]], kinds: list[tuple[int, int, int]], gpus: int | None) -> list[tuple[int, int]]:
    """Return the nodes with those to come, at most to the number of GPUs that is wanted."""
    shares = list(nodes)
    # One kind is enough to plan with: spot and on-demand types stand in for each other, and `max_workers` bounds both.
    cores, gpus_each, most = max(kinds, key=lambda kind: kind[1] * kind[2])
    target = gpus or gpus_each * most
    while sum(node_gpus for _, node_gpus in shares) < target:
        shares.append((cores, gpus_each))
    return shares


def _gpu_memory(timeout: float) -> float | None:
    started = time.monotonic()
    try:
        return ray.get(ray.remote(num_gpus=1)(gpu_memory_gb).remote(), timeout=timeout)
    except ray.exceptions.RayTaskError:
        return None  # the preflight, which is next, says what is wrong with the GPU
    except ray.exceptions.GetTimeoutError:
        raise ValueError(
            f"no GPU has joined the cluster in {(time.monotonic() - started) / 60:.0f} minutes; `ray status` on the "
            "head node and its monitor log tell why (no capacity, quota, or a set-up command that failed)"
        ) from None
