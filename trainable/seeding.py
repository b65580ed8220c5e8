"""Seeds of a trial and of the sampler: every stream is a function of the seed and of where it is used."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

STREAMS = ("init", "order", "augmentation", "torch", "study", "mixing")


def stream_seed(seed: int, stream: str, epoch: int = 0, worker: int = 0) -> int:
    """Return the 32-bit seed of one random stream; different arguments give independent streams."""
    words = (seed, STREAMS.index(stream), epoch, worker)
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def random_state(device: torch.device) -> list[Tensor]:
    """Return PyTorch's random state: the CPU's, and the device's where that is a GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; nothing where that is empty."""
    if states:
        torch.set_rng_state(states[0].cpu())
    if len(states) > 1 and device.type == "cuda":
        torch.cuda.set_rng_state(states[1].cpu(), device)
