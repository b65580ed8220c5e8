"""Chooses precision and memory format, and on a GPU cuDNN's search of algorithms, by measuring the model for a moment.

bf16 and channels-last make most networks up to twice as fast and some slower: depthwise convolutions on a CPU, and on a
GPU as its generation and PyTorch's version have it (pytorch pull request 91735, issue 170138). The measurement is kept
beside the photo caches: all trials of a model on machines of a kind train alike, and of those that share a GPU only the
first measures.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from trainable.config import TrialConfig
from trainable.engine.gpu_timing import GpuTimes, SearchTimes, Way, fastest, timed_on_gpu
from trainable.engine.train_step import Stepper
from trainable.machine.device import resolve_device
from trainable.model.losses import cross_entropy
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model, check_model
from trainable.storage.atomic_write import read_json, write_json

WORTH = 1.05
"""How much faster another way must be than the safer ones, fp32 in the contiguous format first, to be taken."""
LONGEST = 20.0
"""On a CPU: CPU-seconds after which no further round is measured."""
PHOTOS, SIZE = 2, 256  # at most: the ratios, not the seconds, are wanted


def settle(config: TrialConfig, folder: Path) -> TrialConfig:
    """Return the config with every `auto` replaced; what was measured is kept in `folder`.

    Raises:
        ValueError: the config asks for a GPU and there is none.
    """
    config = resolve_device(config)
    if "auto" not in (config.precision, config.memory_format):
        return config
    ways = _gpu_ways() if config.device == "cuda" else _ways()
    return _filled(config, *_measured(config, folder, [way for way in ways if _allowed(config, *way)]))


def searches_algorithms(config: TrialConfig, folder: Path, steps: int) -> bool:
    """Tell whether cuDNN's search of algorithms was measured to pay for a config: it makes some networks slower.

    Each process searches anew, and a trial may be paused after an epoch: what the search takes must come back in one.

    Args:
        config: as `settle` gives it.
        folder: where what was measured is kept.
        steps: of an epoch.
    """
    if config.device != "cuda" or not (path := _search_file(config, folder)).exists():
        return False
    times = SearchTimes(**read_json(path)["found"])
    gain = times.plain_s - times.searched_s
    return times.searched_s * WORTH < times.plain_s and times.search_s < steps * gain


def _ways() -> list[Way]:
    """Return what a CPU can train with; bf16 without instructions for it is emulated, and slow."""
    ways = [("fp32", "contiguous"), ("fp32", "channels_last")]
    return [*ways, ("bf16", "channels_last")] if torch.cpu._is_avx512_bf16_supported() else ways


def _gpu_ways() -> list[Way]:
    """Return what a GPU can train with, the safest first: fp16 needs its loss scaled, and can run over."""
    # V100 (7.0) has no bf16 units: PyTorch would emulate it.
    half = ("bf16", "fp16") if torch.cuda.get_device_capability() >= (8, 0) else ("fp16",)
    return [(precision, layout) for precision in ("fp32", *half) for layout in ("contiguous", "channels_last")]


def _allowed(config: TrialConfig, precision: str, memory_format: str) -> bool:
    return config.precision in ("auto", precision) and config.memory_format in ("auto", memory_format)


def _filled(config: TrialConfig, precision: str, memory_format: str) -> TrialConfig:
    return replace(
        config,
        precision=precision if config.precision == "auto" else config.precision,
        memory_format=memory_format if config.memory_format == "auto" else config.memory_format,
    )


def _measured(config: TrialConfig, folder: Path, ways: list[Way]) -> Way:
    """Return the fastest way, measured once per model and kind of machine."""
    if len(ways) < 2:
        return ways[0] if ways else (config.precision, "channels_last")
    gpu = config.device == "cuda"
    model = (config.architecture, config.encoder, config.decoder, config.num_classes, config.input_shape, ways)
    place = ("cuda", torch.__version__, torch.cuda.get_device_name()) if gpu else _cpu(config)
    path = folder / f"speed-{_digest([*model, *place])}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                times = timed_on_gpu(config, ways, WORTH) if gpu else GpuTimes(measure(config, ways))
                if not times.steps:
                    return _guess(ways)  # nothing is kept: a trial with more room can measure
                _keep(path, config, model, times)
    best = read_json(path)["best"]
    return best[0], best[1]


def _keep(path: Path, config: TrialConfig, model: tuple[Any, ...], times: GpuTimes) -> None:
    """Write what was measured; that of cuDNN's search first, as with the other nobody measures again."""
    best = fastest(times.steps, WORTH)
    if times.search:
        found = _search_file(_filled(config, *best), path.parent)
        write_json(found, {"model": model, "way": best, "found": asdict(times.search)})
    base = next(iter(times.steps.values()))
    timings = {" ".join(way): {"ms": 1000 * each, "ratio": base / each} for way, each in times.steps.items()}
    write_json(path, {"model": model, "best": best, "found": timings})


def _guess(ways: list[Way]) -> Way:
    """Return what is fastest most often, where there was no memory to measure in."""
    usual = [(precision, "channels_last") for precision in ("bf16", "fp16", "fp32")]
    return next((way for way in usual if way in ways), ways[-1])


def _search_file(config: TrialConfig, folder: Path) -> Path:
    """Return where it is kept what cuDNN's search brings a config: that depends on the shapes of its batches too."""
    model = (config.architecture, config.encoder, config.decoder, config.num_classes, config.input_shape)
    shape = (config.batch_size, config.accumulation, config.precision, config.memory_format)
    place = (torch.__version__, torch.backends.cudnn.version(), torch.cuda.get_device_name())
    return folder / f"cudnn-{_digest([*model, *shape, *place])}.json"


def _cpu(config: TrialConfig) -> tuple[Any, ...]:
    return config.threads, torch.__version__, processor()


def _digest(key: list[Any]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def measure(config: TrialConfig, ways: list[Way], rounds: int = 4) -> dict[Way, float]:
    """Return the CPU-seconds of a training step of two photos each way; the ways take turns."""
    small = replace(config, image_size=min(*config.input_shape, SIZE), aspect=0.0, tile_size=0)
    try:
        check_model(replace(small, encoder_weights="none"))
    except ValueError:
        small = config  # its size is the only one it takes
    steps = {way: _step(replace(small, precision=way[0], memory_format=way[1])) for way in ways}
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
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
    photos = torch.randint(0, 256, (PHOTOS, *config.input_shape, 3), dtype=torch.uint8)
    masks = torch.randint(0, config.num_classes, photos.shape[:3])
    return lambda: stepper.step(photos, masks)


@cache
def processor() -> str:
    """Return the processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
