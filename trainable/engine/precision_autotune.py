"""Chooses precision and memory format by what the device has and, on a CPU, by measuring the model for a moment.

bf16 and channels-last make most networks up to twice as fast on a CPU with bf16 instructions, and some slower. The
measurement is kept beside the photo caches: all trials of a model on one machine train alike.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock

from trainable.config import TrialConfig
from trainable.engine.train_step import Stepper
from trainable.machine.device import resolve_device
from trainable.model.losses import cross_entropy
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model, check_model
from trainable.storage.atomic_write import read_json, write_json

WORTH = 1.05
"""How much faster another way must be than fp32 in the contiguous format to be taken."""
LONGEST = 20.0
"""CPU-seconds after which no further round is measured."""
PHOTOS, SIZE = 2, 256  # at most: the ratios, not the seconds, are wanted


def settle(config: TrialConfig, folder: Path) -> TrialConfig:
    """Return the config with every `auto` replaced; what was measured is kept in `folder`.

    Raises:
        ValueError: the config asks for a GPU and there is none.
    """
    config = resolve_device(config)
    if "auto" not in (config.precision, config.memory_format):
        return config
    if config.device == "cuda":
        # V100 (7.0) has no bf16 units: PyTorch would emulate it.
        best = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        return _filled(config, best, "channels_last")
    open_ways = [way for way in _ways() if _allowed(config, *way)]
    return _filled(config, *_measured(config, folder, open_ways))


def _ways() -> list[tuple[str, str]]:
    """Return what a CPU can train with; bf16 without instructions for it is emulated, and slow."""
    ways = [("fp32", "contiguous"), ("fp32", "channels_last")]
    return [*ways, ("bf16", "channels_last")] if torch.cpu._is_avx512_bf16_supported() else ways


def _allowed(config: TrialConfig, precision: str, memory_format: str) -> bool:
    return config.precision in ("auto", precision) and config.memory_format in ("auto", memory_format)


def _filled(config: TrialConfig, precision: str, memory_format: str) -> TrialConfig:
    return replace(
        config,
        precision=precision if config.precision == "auto" else config.precision,
        memory_format=memory_format if config.memory_format == "auto" else config.memory_format,
    )


def _measured(config: TrialConfig, folder: Path, ways: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the fastest way, measured once per model and machine."""
    if len(ways) < 2:
        return ways[0] if ways else (config.precision, "channels_last")
    model = (config.architecture, config.encoder, config.decoder, config.image_size, ways)
    key = json.dumps([*model, config.threads, torch.__version__, processor()])
    path = folder / f"speed-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                seconds = measure(config, ways)
                base = seconds[ways[0]]
                best = min(ways, key=lambda way: seconds[way] * (1 if way == ways[0] else WORTH))
                timings = {" ".join(way): {"ms": 1000 * cpu_s, "ratio": base / cpu_s} for way, cpu_s in seconds.items()}
                write_json(path, {"model": model, "best": best, "found": timings})
    best = read_json(path)["best"]
    return best[0], best[1]


def measure(config: TrialConfig, ways: list[tuple[str, str]], rounds: int = 4) -> dict[tuple[str, str], float]:
    """Return the CPU-seconds of a training step of two photos each way; the ways take turns."""
    side = min(config.image_size, SIZE)
    try:
        check_model(replace(config, encoder_weights="none", image_size=side))
    except ValueError:
        side = config.image_size  # the only one it takes
    steps = {way: _step(replace(config, precision=way[0], memory_format=way[1], image_size=side)) for way in ways}
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    start = time.process_time()
    for turn in range(rounds + 1):
        for way, step in steps.items():
            began = time.process_time()  # of this process: another trial on the next core does not count
            step()
            if turn:  # the first warms up
                seconds[way].append(time.process_time() - began)
        if turn and time.process_time() - start > LONGEST:
            break
    return {way: min(times) for way, times in seconds.items()}


def _step(config: TrialConfig) -> Callable[[], object]:
    model = build_model(replace(config, encoder_weights="none"))
    optimizer = build_optimizer({"name": "adamw"}, model)
    plain = replace(config, compile=False, ema_decay=0.0, clip_norm=0.0, accumulation=1)
    stepper = Stepper(plain, model.train(), cross_entropy(), optimizer)
    photos = torch.randint(0, 256, (PHOTOS, config.image_size, config.image_size, 3), dtype=torch.uint8)
    masks = torch.randint(0, 11, photos.shape[:3])
    return lambda: stepper.step(photos, masks)


@cache
def processor() -> str:
    """Return the processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
