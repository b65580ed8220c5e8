"""Whether this machine has a GPU, told without asking a driver or importing PyTorch."""

from pathlib import Path

GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Files in /dev that drivers of GPUs make: Nvidia's, AMD's, WSL's."""


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Tell whether there are device files of GPUs in a folder of devices."""
    return any(next(devices.glob(pattern), None) for pattern in GPU_DEVICES)
