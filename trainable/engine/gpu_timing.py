"""Times training steps on a GPU: precisions, memory formats and cuDNN's search of algorithms against each other.

The GPU works on while Python goes ahead, so the clock is read only when it has done all that was asked. Nothing here
ends a trial for want of memory: what does not fit is not timed.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from trainable.config import TrialConfig
from trainable.engine.train_step import Stepper
from trainable.machine.device import algorithms_searched, is_memory_short, release_memory
from trainable.model.losses import cross_entropy
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import FORMATS, build_model

T = TypeVar("T")

Way = tuple[str, str]
"""Precision and memory format."""

LONGEST = 3.0
"""Seconds after which no further round of steps is timed."""
LATEST = 10.0
"""Seconds after which cuDNN's search is not tried: a model that takes so long to time makes it long as well."""
ROUNDS = 3
BLOCK_S = 0.2
"""Seconds of steps between two looks at the clock."""
MOST_STEPS = 5  # of a block
HOPELESS = 1.5
"""So many times as slow as the fastest in the first round, a way is not timed again."""


@dataclass(frozen=True)
class SearchTimes:
    """What cuDNN's search of algorithms (`torch.backends.cudnn.benchmark`) costs and brings, in seconds."""

    plain_s: float  # a step without it
    searched_s: float  # a step with what it found
    search_s: float  # the search itself, which each process begins with


@dataclass(frozen=True)
class GpuTimes:
    """What was timed on a GPU."""

    steps: dict[Way, float]  # seconds; without the ways that have no memory, or no kernels
    search: SearchTimes | None = None  # for the fastest; None where there was no time or memory for it


def timed_on_gpu(config: TrialConfig, ways: list[Way], worth: float) -> GpuTimes:
    """Return the seconds of a step of the config's batch, each way; the ways take turns.

    Where no way fits, half of the photos are tried, and so on; what fits nowhere gives no times.

    Args:
        config: what trains, on which device.
        ways: the ones that matter, the safest first.
        worth: how much faster another way must be than those before it to be taken.
    """
    whole = photos = -(-config.batch_size // config.accumulation)
    while True:
        times = _in_own_thread(partial(_timed, config, ways, photos, worth, search=photos == whole))
        release_memory()  # only here has an error's traceback let go of the tensors
        if times.steps or photos < 4:  # one photo alone is too few for some networks
            return times
        photos //= 2


def fastest(seconds: dict[Way, float], worth: float) -> Way:
    """Return the first of the ways that none after it beats by the factor `worth`."""
    ways = list(seconds)
    best = ways[0]
    for way in ways[1:]:
        if seconds[way] * worth < seconds[best]:
            best = way
    return best


def _timed(config: TrialConfig, ways: list[Way], photos: int, worth: float, search: bool) -> GpuTimes:
    start = time.perf_counter()
    try:
        steps = _Steps(config, photos)
    except Exception as error:
        if not is_memory_short(error):
            raise
        return GpuTimes({})
    seconds: dict[Way, float] = {}
    for turn in range(ROUNDS):
        limit = HOPELESS * min(seconds.values(), default=0.0)
        for way in [way for way in ways if turn == 0 or seconds.get(way, float("inf")) <= limit]:
            if (taken := steps.seconds(way)) is not None:
                seconds[way] = min(taken, seconds.get(way, taken))
        if time.perf_counter() - start > LONGEST:
            break
    in_order = {way: seconds[way] for way in ways if way in seconds}
    late = time.perf_counter() - start > LATEST
    if not search or not in_order or late or torch.are_deterministic_algorithms_enabled():
        return GpuTimes(in_order)
    return GpuTimes(in_order, steps.search(fastest(in_order, worth)))


class _Steps:
    """Takes steps of one model, in turn in each way: several models would need as many times the memory."""

    def __init__(self, config: TrialConfig, photos: int):
        self.config = replace(
            config, encoder_weights="none", compile=False, ema_decay=0.0, clip_norm=0.0, accumulation=1
        )
        self.model = build_model(self.config).to(config.device).train()
        self.photos, self.masks = _batch(config, photos)
        self.first_s = 0.0  # of the last stepper's first step, which is timed nowhere else

    def seconds(self, way: Way) -> float | None:
        """Return the seconds of a step, None where there is no memory or no kernel for it."""
        try:
            stepper = self._stepper(way)
            begun = _now()
            self._step(stepper, 1)  # loads kernels, has cuDNN choose, makes the optimizer's state
            warm = _now()
            self._step(stepper, 1)
            count = max(1, min(MOST_STEPS, int(BLOCK_S / max(_now() - warm, 1e-6))))
            block = _now()
            self._step(stepper, count)
            self.first_s = warm - begun
            return (_now() - block) / count
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, torch.AcceleratorError) and not is_memory_short(error):
                raise  # the device is not to be used any more
        return None

    def search(self, way: Way) -> SearchTimes | None:
        """Return what cuDNN's search costs and brings this way, None where there is no memory for it."""
        plain_s = _in_own_thread(partial(self.seconds, way))
        first_s = self.first_s
        with algorithms_searched(True):
            searched_s = _in_own_thread(partial(self.seconds, way))
        if plain_s is None or searched_s is None:
            return None
        return SearchTimes(plain_s, searched_s, max(self.first_s - first_s, 0.0))

    def _stepper(self, way: Way) -> Stepper:
        precision, memory_format = way
        layout = FORMATS[memory_format]
        if self.model.memory_format != layout:
            self.model.network.to(memory_format=layout)
            self.model.memory_format = layout
        config = replace(self.config, precision=precision, memory_format=memory_format)
        # A new optimizer: the state of one has the weights' earlier layout, with which it is slow.
        stepper = Stepper(config, self.model, cross_entropy(), build_optimizer({"name": "adamw"}, self.model))
        stepper.recomputed = []  # no activation checkpointing where memory is short: that is not what is timed
        return stepper

    def _step(self, stepper: Stepper, count: int) -> None:
        for _ in range(count):
            stepper.step(self.photos, self.masks)
            if stepper.notes:
                raise torch.OutOfMemoryError(stepper.notes[0])  # it went on in parts


def _in_own_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread that ends with it, and with the thread what PyTorch keeps of cuDNN's choices there.

    They are kept by thread and shape, whether they were searched for or not: a search later in the same thread would
    find them, and time nothing. The backward pass, which has a thread of its own in a process, is to take this one.
    """

    def call() -> T:
        with torch.autograd.set_multithreading_enabled(False):
            return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def _batch(config: TrialConfig, photos: int) -> tuple[Tensor, Tensor]:
    """Return photos and masks on the device."""
    shape = (photos, *config.input_shape)
    return (
        torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, device=config.device),
        torch.randint(0, config.num_classes, shape, device=config.device),
    )


def _now() -> float:
    """Return the time, in seconds, when the GPU has done all it was asked for."""
    torch.cuda.synchronize()
    return time.perf_counter()
