"""Training steps: a plain loop, a plain loop with all the usual switches on, ours, and what ours could be."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from benchmarks.gpu.setting import GPU, Batch, Model, Setting, Step, half, our_step, our_stepper, timed
from benchmarks.speed.training import plain_step
from trainable.classes import COMPETITION
from trainable.config import TrialConfig
from trainable.engine.gpu_timing import _in_own_thread
from trainable.engine.precision_autotune import searches_algorithms
from trainable.engine.train_step import DTYPES
from trainable.machine.device import algorithms_searched, release_memory

OPTIMIZERS = ("sgd", "adam", "radam", "nadam", "lion", "adabelief", "lamb", "lookahead_radam")
LOSSES = ("focal", "dice", "jaccard", "lovasz", "tversky", "ohem_cross_entropy", "boundary_cross_entropy")

SLOW_SEARCH = ("efficientnet-b5",)
"""Encoders for which cuDNN's search takes longer than all the rest: it is left out."""


@dataclass(frozen=True)
class Way:
    """One way to take a step."""

    name: str
    make: Callable[[], Step]
    search: bool = False  # cuDNN's, of algorithms
    steps: int = 20
    facts: dict[str, str] = field(default_factory=dict)  # more to say of it


def steps(setting: Setting) -> None:
    """Measure all ways of all models, and of the first model slow losses and optimizers."""
    for model in setting.models:
        for way in ways(setting, model):
            figures = measured(replace(way, steps=2) if setting.tiny else way, warm=1 if setting.tiny else 5)
            if "ms" in figures:
                figures["photos_per_s"] = 1000 * setting.batch_size / figures["ms"]
            setting.keep(
                "steps", model="+".join(model), way=way.name, **way.facts, searched=GPU and way.search, **figures
            )


def measured(way: Way, warm: int) -> dict[str, Any]:
    """Return a way's figures: milliseconds and the peak of its memory in MB, or why there are none.

    Each way has a thread of its own: PyTorch keeps by thread and shape what cuDNN chose, so that a way would find what
    one before it left, and its search would search nothing.
    """
    figures: dict[str, Any]
    try:
        with algorithms_searched(way.search):
            figures = _in_own_thread(partial(_timed, way, warm))
    except Exception as error:  # one way that fails is no reason to end
        figures = {"error": f"{type(error).__name__}: {error}"[:300]}
    release_memory()  # only here has an error's traceback let go of the tensors
    return figures


def _timed(way: Way, warm: int) -> dict[str, Any]:
    step = way.make()
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    ms, cpu_ms = timed(step, way.steps, warm)
    return {"ms": ms, "cpu_ms": cpu_ms, **({"peak_mb": torch.cuda.max_memory_reserved() / 1e6} if GPU else {})}


def chosen(setting: Setting, config: TrialConfig) -> tuple[TrialConfig, bool]:
    """Return a config as a training would settle it, and whether it would have cuDNN search for algorithms."""
    config = setting.settle(config)
    return config, searches_algorithms(config, setting.cache_dir, setting.fold[0] // setting.batch_size)


def ways(setting: Setting, model: Model) -> Iterator[Way]:
    """Yield what is measured of a model. "ours" is what a training does by itself."""
    batch, slow = setting.batch(), model[1] in SLOW_SEARCH
    config, searched = chosen(setting, setting.config(model))
    yield Way("plain", partial(plain_step, config, batch))
    yield Way("tuned", partial(tuned_step, model, batch), search=not slow)
    facts = {"precision": config.precision, "memory_format": config.memory_format}
    yield Way("ours", partial(our_step, config, batch), searched, facts=facts)
    if GPU:
        if not slow or searched:
            name = "ours without cuDNN's search" if searched else "ours with cuDNN's search"
            yield Way(name, partial(our_step, config, batch), not searched)
        yield Way("ours as a CUDA graph", partial(graphed_step, config, batch))
        other = "contiguous" if config.memory_format == "channels_last" else "channels_last"
        yield Way(f"ours {other}", partial(our_step, replace(config, memory_format=other), batch))
    if model != setting.models[0]:
        return
    for precision in ("bf16", "fp16", "fp32") if GPU else ():
        if precision != config.precision:
            yield Way(f"ours {precision}", partial(our_step, replace(config, precision=precision), batch))
    for optimizer in OPTIMIZERS[:1] if setting.tiny else OPTIMIZERS:
        yield Way(f"ours optimizer {optimizer}", partial(our_step, config, batch, optimizer=optimizer), steps=10)
    for loss in LOSSES[:1] if setting.tiny else LOSSES:
        yield Way(f"ours loss {loss}", partial(our_step, config, batch, loss=loss), steps=10)


def tuned_step(model: Model, batch: Batch) -> Step:
    """The loop of someone who knows PyTorch: autocast, channels-last, fused AdamW, and cuDNN's search around it."""
    device = "cuda" if GPU else "cpu"
    network = smp.create_model(*model, None, classes=len(COMPETITION))
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    dtype = DTYPES[half()]
    scaler = torch.amp.GradScaler(device, enabled=half() == "fp16")
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        photos = batch[0].to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        with torch.autocast(device, dtype):
            loss = criterion(network(photos), batch[1].to(device, non_blocking=True).long())
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def graphed_step(config: TrialConfig, batch: Batch) -> Step:
    """Our step replayed as one CUDA graph: what launching kernels one by one costs."""
    torch.set_autocast_cache_enabled(False)  # of this thread: cast weights are not to outlive the capture
    stepper = our_stepper(config)
    optimizer = torch.optim.AdamW(stepper.model.parameters(), lr=1e-4, fused=True, capturable=True)
    photos, masks = (tensor.cuda() for tensor in batch)

    def body() -> None:
        loss = nn.functional.cross_entropy(stepper.logits(stepper.model, photos), masks.long())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()

    def step() -> None:
        photos.copy_(batch[0], non_blocking=True)
        masks.copy_(batch[1], non_blocking=True)
        graph.replay()

    return step
