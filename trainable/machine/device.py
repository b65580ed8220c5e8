"""What the device of a trial can do, how much memory it used, and its random state."""

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trainable.config import TrialConfig
from trainable.geometry import shape_text

MEMORY_SHORT = (
    # PyTorch: "CUDA out of memory", "DefaultCPUAllocator: can't allocate memory", and what C++ throws
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory (12)",  # with the number, as a library that cannot be loaded says the words too
    "bad_alloc",
    # the CUDA runtime and driver, where only the name of the error is told
    "out_of_memory",
    "memoryallocation",
    # cuBLAS, cuSOLVER, cuFFT and cuDNN up to 8; cuDNN from 9 on, for the device and for the host
    "alloc_failed",
    "allocation_failed",
    # cuDNN finds no engine where none has room to work in: pytorch issue 108645, older words in marqo issue 101
    "unable to find an engine",
    "unable to find a valid cudnn algorithm",
    # NCCL, in what it calls its last error
    "failed to cuda malloc",
    "failed to cuda calloc",
    "failed to cuda host alloc",
)
"""What is said where memory cannot be had, in lower case.

Left out is what has other causes as well: CUDNN_STATUS_EXECUTION_FAILED, CUDNN_STATUS_INTERNAL_ERROR and the libraries'
NOT_INITIALIZED come of a driver or a version that does not fit too, and no smaller batch helps against those.
"""


class OutOfMemoryError(RuntimeError):
    """One photo at a time does not fit into the device's memory."""


def resolve_device(config: TrialConfig) -> TrialConfig:
    """Return the config with the device that this process has.

    Raises:
        ValueError: the config asks for a GPU and there is none.
    """
    gpu = torch.cuda.is_available()
    if config.device == "cuda" and not gpu:
        raise ValueError("device is cuda and this process sees no GPU; use auto or cpu")
    return replace(config, device="cuda" if gpu and config.device != "cpu" else "cpu")


def release_memory() -> None:
    """Give memory that an earlier training in this process has freed back to the device and the system.

    Each trial of a worker trains in a thread of its own, and glibc keeps what a thread has freed: without this a worker
    grows by 70 to 200 MB per trial.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def limit_memory(share: float, context_mb: float) -> None:
    """Keep this process to a share of its GPU's memory: past it a training runs out of memory, not its neighbours.

    Args:
        share: of the whole memory; 1 or more is all of it.
        context_mb: of the share, what the process takes beside PyTorch's own memory.
    """
    if torch.cuda.is_available():
        total_mb = torch.cuda.get_device_properties(0).total_memory / 1e6
        limit = share - context_mb / total_mb if share < 1 else 1.0
        torch.cuda.set_per_process_memory_fraction(max(limit, 0.01))


@contextlib.contextmanager
def algorithms_searched(search: bool) -> Iterator[None]:
    """Let cuDNN time its algorithms at each new shape, in here alone: a later trial of this process may fare without.

    PyTorch keeps what was chosen by thread. A trial trains in a thread of its own, and in here its backward pass does
    too: in the process's it would find, and leave, the choices of other trials. Nothing is searched where deterministic
    algorithms are asked for, as what is found depends on the moment.
    """
    if not search or torch.are_deterministic_algorithms_enabled():
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with torch.autograd.set_multithreading_enabled(False):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def reset_peak_memory(device: str) -> None:
    """Start a new measurement of peak memory."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # only Linux has it; elsewhere the peak is the process's own
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: str) -> float:
    """Return the peak since the reset, in MB: what PyTorch took of the GPU, or the process's resident memory.

    On a GPU that is what it reserved, 1 to 20% more than its tensors: the rest is not free for others.
    """
    if device == "cuda":
        return torch.cuda.max_memory_reserved() / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kilobytes) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def too_short(config: TrialConfig, photos: str, error: Exception, more: str = "") -> OutOfMemoryError:
    """Return the error that ends a trial whose `photos` do not fit, with the peak."""
    peak, line = peak_memory_mb(config.device), (str(error).splitlines() or [type(error).__name__])[0]
    what = f"{photos} of {shape_text(config.input_shape)} px at a time does not fit"
    return OutOfMemoryError(f"{what}: peak {peak:,.0f} MB, then {line}{more}")


def is_memory_short(error: Exception) -> bool:
    """Tell whether memory could not be allocated, on a GPU or not, by PyTorch or by others."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in MEMORY_SHORT)


def random_state(device: torch.device) -> list[Tensor]:
    """Return PyTorch's random state: the CPU's, and the device's where that is a GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; nothing where that is empty."""
    if states:
        torch.set_rng_state(states[0].cpu())
    if len(states) > 1 and device.type == "cuda":
        torch.cuda.set_rng_state(states[1].cpu(), device)
