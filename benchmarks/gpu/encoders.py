"""Large encoders under UPerNet: peak memory and speed of a step, plain and with activation checkpointing."""

from typing import Any

import torch

from benchmarks.gpu.setting import GPU, Setting, half, our_stepper, timed
from benchmarks.groups import measure
from search.worker.gpu_memory_model import CONTEXT_MB
from spaces.encoders import GROUPS
from trainable.config import TrialConfig
from trainable.machine.device import peak_memory_mb, release_memory, reset_peak_memory, resolve_device
from trainable.model.activation_checkpointing import planned

KINDS = ("convnext_xlarge", "swin_large", "beit_large", "eva02_large", "vit_large")
"""One of each kind in the group `huge`; the last one is DINOv2's."""


def encoders(setting: Setting) -> None:
    """Measure random weights in 16 bits, and hold the peaks against what `benchmarks.groups` expects.

    A peak has what a process takes beside PyTorch's own memory added, as the estimate has.
    """
    names = [next(each for each in GROUPS["huge"] if each.startswith(f"tu-{kind}")) for kind in KINDS]
    precision = half() if GPU else "fp32"
    for name in ("tu-vit_tiny_patch16_224",) if setting.tiny else names:
        config = setting.config(("upernet", name), precision=precision, memory_format="channels_last")
        config = resolve_device(config)
        expected = measure(name, config.image_size, config.batch_size)
        for way, estimate in (("plain", expected["gb"]), ("checkpointing", expected["recomputed_gb"])):
            figures: dict[str, Any]
            try:
                figures = _measured(setting, config, twice=planned(config) if way == "checkpointing" else [])
                figures["peak_to_estimate"] = figures["peak_gb"] / estimate
            except Exception as error:  # one that does not fit is no reason to end
                figures = {"error": f"{type(error).__name__}: {error}"[:300]}
            setting.keep("encoders", encoder=name, way=way, precision=precision, estimate_gb=estimate, **figures)


def _measured(setting: Setting, config: TrialConfig, twice: list[str]) -> dict[str, Any]:
    """Return GB at most and photos a second of steps in which some modules are computed twice."""
    release_memory()
    reset_peak_memory(config.device)
    stepper = our_stepper(config)
    stepper._compute_twice(twice)  # an empty list: not at all, where memory is short neither
    batch = setting.batch()

    def step() -> None:
        stepper.step(*(tensor.to(stepper.device, non_blocking=True) for tensor in batch))
        if stepper.notes:
            raise torch.OutOfMemoryError(stepper.notes[0])  # it went on in parts

    ms, _ = timed(step, 1 if setting.tiny else 5, 1 if setting.tiny else 2)
    peak_gb = (peak_memory_mb(config.device) + CONTEXT_MB) / 1000
    return {"modules_twice": len(twice), "peak_gb": peak_gb, "ms": ms, "photos_per_s": 1000 * len(batch[0]) / ms}
