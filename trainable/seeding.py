"""Seeds of a trial and of the sampler: every stream is a function of the seed and of where it is used."""

import numpy as np

STREAMS = ("init", "order", "augmentation", "torch", "study", "mixing")


def stream_seed(seed: int, stream: str, epoch: int = 0, worker: int = 0) -> int:
    """Return the 32-bit seed of one random stream; different arguments give independent streams."""
    words = (seed, STREAMS.index(stream), epoch, worker)
    return int(np.random.SeedSequence(words).generate_state(1)[0])
