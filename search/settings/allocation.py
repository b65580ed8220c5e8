"""What a machine or a cluster can run at a time, and the defaults that fit it."""

from dataclasses import dataclass
from typing import Any

from trainable.counts import counted
from trainable.geometry import SIZE_ON_CPU, SIZE_ON_GPU


@dataclass(frozen=True)
class Machine:
    """What Ray has found: of this machine, or of all nodes of a cluster."""

    cores: int
    gpus: int
    gpu_memory_gb: float | None = None  # of one GPU
    nodes: tuple[tuple[int, int], ...] = ()  # cores and GPUs of each node of a cluster; () is this machine alone

    @property
    def shares(self) -> tuple[tuple[int, int], ...]:
        """Cores and GPUs of each node."""
        return self.nodes or ((self.cores, self.gpus),)

    def describe(self) -> str:
        """Return where it is."""
        return f" of {len(self.nodes)} nodes" if len(self.nodes) > 1 else ""


@dataclass(frozen=True)
class Resources:
    """How trials share the machine."""

    concurrent: int  # trials at a time
    cpus_per_trial: float
    gpus_per_trial: float  # on average where trials are packed
    description: str
    packed: bool = False  # each trial gets the share of a GPU that it needs


AUTO = "auto"
"""The share of a GPU that each trial needs, see `search/cluster/gpu_packing.py`."""

TEST_ENCODER = "tu-test_resnet"
"""timm's smallest, the default without a GPU: an epoch takes seconds, and its scores say little of real networks."""

TOGETHER = 4
"""Trials that are packed on one GPU at most; how many pay is measured, see `search/cluster/gpu_sharing.py`."""


def resources(machine: Machine, concurrent: int | None, gpus_per_trial: float | str | None) -> Resources:
    """Return the shares of the machine: on GPUs one trial each, on CPU one trial per core.

    One thread per CPU trial: two-thread trainings fall to a fraction of one when the other core is busy.

    Raises:
        ValueError: more is asked for than there is.
    """
    cores, gpus = machine.cores, machine.gpus
    if concurrent is not None and concurrent < 1:
        raise ValueError(f"--concurrent must be at least 1, found {concurrent}")
    if not gpus:
        if gpus_per_trial:
            raise ValueError(f"--gpus-per-trial {gpus_per_trial} asks for a GPU, this machine has none; leave it out")
        if concurrent and concurrent > cores:
            raise ValueError(f"--concurrent {concurrent} is more than the {counted(cores, 'core')} of this machine")
        running = concurrent or cores
        description = f"{_at_a_time(running)} on {counted(cores, 'CPU core')}{machine.describe()}, one thread each"
        return Resources(running, 1, 0, description)
    if isinstance(gpus_per_trial, str):
        return _packed(machine, concurrent)
    share = 1.0 if gpus_per_trial is None else gpus_per_trial
    # A trial runs on one node: what counts is what each of them holds.
    most = max(node_gpus for _, node_gpus in machine.shares)
    if not 0 < share <= most or (share > 1 and share % 1):
        raise ValueError(f"--gpus-per-trial must be above 0 and at most {most}, and whole above 1, found {share:g}")
    held = [(node_cores, _held(node_gpus, share)) for node_cores, node_gpus in machine.shares if node_gpus >= share]
    fits = sum(min(trials, node_cores) for node_cores, trials in held)
    running = min(concurrent or fits, fits)
    crowded = running == fits or len(held) > 1
    cpus = min(node_cores // trials for node_cores, trials in held) if crowded else cores // running
    description = f"{_at_a_time(running)} on {counted(gpus, 'GPU')}{machine.describe()}"
    return Resources(running, max(1, cpus), share, description)


def _packed(machine: Machine, concurrent: int | None) -> Resources:
    """Return the shares where each trial gets what it needs of a GPU: as many at a time as cores and `TOGETHER` let."""
    if machine.gpu_memory_gb is None:
        raise ValueError(f"--gpus-per-trial {AUTO} needs the GPUs' memory, and no GPU tells it; give a number")
    fits = sum(min(TOGETHER * gpus, cores) for cores, gpus in machine.shares)
    running = min(concurrent or fits, fits)
    cpus = max(1, min(cores // min(TOGETHER * gpus, cores) for cores, gpus in machine.shares if gpus))
    on = f"{counted(machine.gpus, 'GPU')}{machine.describe()}"
    description = f"at most {_at_a_time(running)} on {on}, packed by memory and measured speed"
    return Resources(running, cpus, machine.gpus / running, description, packed=True)


def _at_a_time(running: int) -> str:
    """Return how many trials run at a time, in words."""
    return f"{counted(running, 'trial')} at a time"


def _held(gpus: int, share: float) -> int:
    """Return how many trials the GPUs of a node hold: a part of a GPU is a part of one."""
    return int(gpus / share) if share >= 1 else gpus * int(1 / share)


def default_options(machine: Machine, demo: bool, gpus_per_trial: float | str | None = None) -> dict[str, Any]:
    """Return the options that depend on the device and the data: a search that ends in sensible time as it is."""
    if machine.gpus:
        # As many loading processes as a trial's share of the GPU's cores feeds, beside its training process. Packed
        # trials are two to a GPU until more are measured to pay.
        share = 0.5 if gpus_per_trial == AUTO else min(float(gpus_per_trial or 1), 1.0)
        cores = min(node_cores // gpus for node_cores, gpus in machine.shares if gpus)
        workers = max(min(int(cores * share), 8) - 1, 0)
        return {
            "image_size": 128 if demo else SIZE_ON_GPU,
            "batch_size": 8,
            "epochs": 15 if demo else 30,
            "trials": 16 if demo else 50,
            "architecture": "unetplusplus",
            "encoder": "efficientnet-b0",
            "encoder_weights": "none" if demo else "imagenet",
            "workers": workers,
            "decoder": {},
        }
    return {
        "image_size": 64 if demo else SIZE_ON_CPU,
        "batch_size": 4 if demo else 8,
        "epochs": 12,
        "trials": 12,
        "architecture": "unetplusplus",
        "encoder": TEST_ENCODER,
        "encoder_weights": "none",
        "workers": 0,
        "decoder": {"decoder_channels": [64, 32, 32, 16, 16]},
    }
