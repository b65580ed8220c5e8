"""What a step costs where memory is short, and whether it is the same step: python -m benchmarks.split_batches.

The ways to train a batch that does not fit: activation checkpointing, parts whose loss is the whole batch's, both, and
as the contrast parts of which each has a loss of its own. Peak memory (on a GPU), time, and the cosine of each gradient
with that of the whole batch: once with batch norm as it trains, and once with its running statistics, where what is
left is the loss alone. Half of the photos have few labelled pixels. About 90 s on a GPU or on an idle CPU; the last
line is json.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainable.classes import COMPETITION, IGNORE_INDEX
from trainable.config import TrialConfig
from trainable.engine.train_step import Stepper
from trainable.model.activation_checkpointing import compute_once, compute_twice, planned
from trainable.model.losses import ClassCounts, build_loss
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model

LOSSES = (
    {"name": "cross_entropy"}, {"name": "weighted_cross_entropy", "scheme": "inverse"}, {"name": "dice"},
    {"name": "lovasz"},
)  # fmt: skip
WAYS = ("whole", "whole again", "checkpointing", "2 parts", "2 parts, checkpointing", "8 parts",
        "2 parts, a loss each", "8 parts, a loss each")  # fmt: skip
SLOW = (WAYS[1], WAYS[6], WAYS[7])
"""Ways that are not timed: what they cost is known from others."""


@dataclass(frozen=True)
class Setting:
    """What is measured on a device."""

    device: str
    precision: str
    models: tuple[tuple[str, str], ...]
    side: int  # pixels
    batch: int
    steps: int  # that are timed


GPU = Setting("cuda", "bf16", (("unetplusplus", "efficientnet-b0"), ("unetplusplus", "efficientnet-b5")), 512, 8, 5)
CPU = Setting("cpu", "fp32", (("unetplusplus", "tu-test_resnet"), ("unet", "efficientnet-b0")), 64, 8, 3)


def batch_of(setting: Setting) -> tuple[Tensor, Tensor]:
    """Return photos and masks of blocks, of which the second half has a twentieth of the labels."""
    generator = torch.Generator().manual_seed(0)
    count, side = setting.batch, setting.side
    photos = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)
    chances = 0.5 ** torch.arange(len(COMPETITION), dtype=torch.float32)  # a class half as often as the one before
    cells = torch.multinomial(chances, count * 64, replacement=True, generator=generator).view(count, 8, 8)
    masks = cells.repeat_interleave(side // 8, 1).repeat_interleave(side // 8, 2).to(torch.uint8)
    few = torch.rand(masks.shape, generator=generator) > 0.05
    few[: count // 2] = False
    return photos.to(setting.device), masks.masked_fill(few, IGNORE_INDEX).to(setting.device)


def stepper_of(setting: Setting, model: tuple[str, str], loss: dict[str, Any], masks: Tensor) -> Stepper:
    """Return what takes steps, without what draws at random: two ways would differ by the draws."""
    config = TrialConfig(
        architecture=model[0],
        encoder=model[1],
        image_size=setting.side,
        batch_size=setting.batch,
        loss=loss,
        precision=setting.precision,
        device=setting.device,
        memory_format="channels_last",
    )
    torch.manual_seed(0)
    network = build_model(config).to(setting.device).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        if hasattr(module, "_drop_connect_rate"):  # of SMP's efficientnets
            module._drop_connect_rate = 0.0  # type: ignore[assignment]
    classes, photos = torch.arange(len(COMPETITION)), masks.cpu().flatten(1)
    counts = ClassCounts((photos[..., None] == classes).sum((0, 1)), (photos[..., None] == classes).any(1).sum(0))
    return Stepper(config, network, build_loss(loss, counts), build_optimizer({"name": "sgd", "lr": 0.0}, network))


def backward(stepper: Stepper, way: str, photos: Tensor, masks: Tensor) -> None:
    """Put a way's gradient in place."""
    stepper.accumulation = int(way[0]) if way[0].isdigit() else 1
    if not way.endswith("a loss each"):
        stepper._backward(photos, masks)
        return
    stepper.optimizer.zero_grad()
    parts = (tensor.tensor_split(stepper.accumulation) for tensor in (photos, masks))
    for part, truth in zip(*parts, strict=True):
        (stepper.loss_of(stepper.logits(stepper.model, part), truth) * (len(part) / len(photos))).backward()


def in_way(stepper: Stepper, way: str, names: list[str], call: Callable[[], Any]) -> Any:
    """Call with activation checkpointing where the way has it."""
    if "checkpointing" not in way:
        return call()
    compute_twice(stepper.model.network, names)
    try:
        return call()
    finally:
        compute_once(stepper.model.network, names)


def gradient(stepper: Stepper) -> Tensor:
    """Return all gradients as one vector, in double precision on the CPU."""
    gradients = [parameter.grad.flatten() for parameter in stepper.model.parameters() if parameter.grad is not None]
    return torch.cat(gradients).cpu().double()


def cost(stepper: Stepper, way: str, photos: Tensor, masks: Tensor, steps: int) -> dict[str, float]:
    """Return milliseconds of a way's gradient, and on a GPU the peak of its memory in MB."""
    gpu = stepper.device.type == "cuda"
    clock = time.perf_counter if gpu else time.process_time  # on a CPU others may keep the cores busy

    def run() -> float:
        began = clock()
        backward(stepper, way, photos, masks)
        if gpu:
            torch.cuda.synchronize()
        return clock() - began

    stepper.optimizer.zero_grad()
    gc.collect()
    if gpu:
        torch.cuda.empty_cache()
    run()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    figures = {"ms": 1000 * min(run() for _ in range(steps))}
    if gpu:
        allocated, reserved = torch.cuda.max_memory_allocated() / 1e6, torch.cuda.max_memory_reserved() / 1e6
        figures |= {"allocated_mb": round(allocated), "reserved_mb": round(reserved)}
    return figures


def compare(
    setting: Setting, model: tuple[str, str], loss: dict[str, Any], batch: tuple[Tensor, Tensor]
) -> list[dict[str, Any]]:
    """Measure all ways to train a model by a loss."""
    stepper = stepper_of(setting, model, loss, batch[1])
    names = planned(stepper.config)
    rows: list[dict[str, Any]] = []
    for norm in ("trains", "running"):
        for module in stepper.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(norm == "trains")
        whole = torch.empty(0)
        for way in WAYS:
            row: dict[str, Any] = {"model": " ".join(model), "loss": loss["name"], "batch norm": norm, "way": way}
            try:
                in_way(stepper, way, names, partial(backward, stepper, way, *batch))
                vector = gradient(stepper)
                whole = vector if way == "whole" else whole
                row |= {
                    "cosine": float(vector @ whole / (vector.norm() * whole.norm())),
                    "norm": float(vector.norm() / whole.norm()),
                }
                if norm == "trains" and loss in (LOSSES[0], LOSSES[3]) and way not in SLOW:
                    row |= in_way(stepper, way, names, partial(cost, stepper, way, *batch, setting.steps))
            except (RuntimeError, MemoryError) as error:  # one way that does not fit is no reason to end
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Return a row for people."""
    figures = [f"{row[name]:,.0f} {unit}" for name, unit in (("ms", "ms"), ("allocated_mb", "MB")) if name in row]
    same = f"cosine {row['cosine']:.6f}, norm {row['norm']:.4f}x" if "cosine" in row else row["error"]
    head = f"{row['model']:32} {row['loss']:24} {row['batch norm']:8} {row['way']:24}"
    return f"{head} {same}{''.join(f', {figure}' for figure in figures)}"


def main() -> None:
    """Print a line per way and all of them as json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default, help="default: a GPU if there is one")
    parser.add_argument("--batch", type=int, help="photos; default: 8")
    parser.add_argument("--seconds", type=float, default=85.0, help="no further loss is begun after; default: 85")
    arguments = parser.parse_args()
    setting = GPU if arguments.device == "cuda" else CPU
    setting = replace(setting, batch=arguments.batch or setting.batch)
    torch.set_num_threads(1)
    deadline, rows = time.monotonic() + arguments.seconds, list[dict[str, Any]]()
    batch = batch_of(setting)
    for model in setting.models:
        for loss in LOSSES:
            if time.monotonic() < deadline:
                rows += compare(setting, model, loss, batch)
    name = torch.cuda.get_device_name() if setting.device == "cuda" else "cpu"
    facts = {"device": name, "torch": torch.__version__, "precision": setting.precision, "side": setting.side}
    print(json.dumps({**facts, "batch": setting.batch, "rows": rows}))


if __name__ == "__main__":
    main()
