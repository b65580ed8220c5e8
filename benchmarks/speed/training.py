"""Training steps of ours against a plain loop as the reference writes it: python -m benchmarks.speed.training.

The same model and batch; on a CPU one thread. Bars there: 0.97x in fp32, and the way that is measured to be the fastest
1.8x for UNet++ mobilenet_v2, 2.2x for UNet++ resnet18, 1.3x for DeepLabV3+ mobilenet_v2. On a GPU, at 512 px: 1.5x, and
less than 3% of an epoch spent waiting for photos.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import nn

from benchmarks.speed.data_path import REAL
from benchmarks.speed.turns import median_seconds
from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.demo import demo_data
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.engine.precision_autotune import settle
from trainable.engine.train_step import Stepper
from trainable.model.losses import cross_entropy
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
SIZE, BATCH, ROUNDS = (512, 8, 20) if GPU else (256, 4, 7)
MODELS = (  # architecture, encoder, bar on a CPU
    ("unetplusplus", "mobilenet_v2", 1.8),
    ("unetplusplus", "resnet18", 2.2),
    ("deeplabv3plus", "mobilenet_v2", 1.3),
)

Batch = tuple[torch.Tensor, torch.Tensor]


def plain_step(config: TrialConfig, batch: Batch) -> Callable[[], object]:
    """The loop of the reference: float photos, channels first, PyTorch's defaults throughout."""
    model = smp.create_model(config.architecture, config.encoder, None, classes=len(COMPETITION)).to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    mean, std = (torch.tensor(channels).view(3, 1, 1) for channels in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    photos = ((batch[0].permute(0, 3, 1, 2) / 255 - mean) / std).contiguous()  # its augmentation gives floats
    masks = batch[1].long()

    def step() -> None:
        loss = criterion(model(photos.to(DEVICE)), masks.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(config: TrialConfig, batch: Batch) -> Callable[[], object]:
    model = build_model(config).to(DEVICE)
    stepper = Stepper(config, model, cross_entropy(), build_optimizer({"name": "adamw", "lr": 1e-4}, model))
    stepper.freeze_encoder(False)
    photos, masks = (tensor.pin_memory() for tensor in batch) if GPU else batch
    return lambda: stepper.step(photos, masks)


def photos_per_second(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each way's median, on a GPU with its work done."""

    def done(step: Callable[[], object]) -> Callable[[], object]:
        def stepped() -> None:
            step()
            torch.cuda.synchronize()

        return stepped

    timed = {name: done(step) if GPU else step for name, step in ways.items()}
    return {name: BATCH / seconds for name, seconds in median_seconds(timed, ROUNDS, warm_up=2).items()}


def waiting_share(folder: Path) -> float:
    """Return the share of an epoch of training that is spent waiting for photos."""
    root = REAL if REAL.exists() else demo_data(folder / "demo", photos=200)
    cache, _ = build_cache(read_training(root), SIZE, folder / "cache")
    config = TrialConfig(
        architecture="unetplusplus", encoder="mobilenet_v2", image_size=SIZE, batch_size=BATCH, workers=6 if GPU else 0
    )
    training = FoldTraining(config, FoldData.of(cache, make_folds(cache, 5, 0), 0))
    training.epoch(1, [])  # warms up
    row, _ = training.epoch(2, [])
    return row["data_s"] / row["train_s"]


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    batch = (
        torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator),
        torch.randint(0, 11, (BATCH, SIZE, SIZE), dtype=torch.uint8, generator=generator),
    )
    where = torch.cuda.get_device_name() if GPU else "one CPU thread"
    print(f"training steps, {where}, {BATCH} photos of {SIZE} px, photos per second and ratio to the plain loop")
    with tempfile.TemporaryDirectory() as folder:
        for architecture, encoder, bar in MODELS:
            config = TrialConfig(architecture=architecture, encoder=encoder, image_size=SIZE, batch_size=BATCH)
            chosen = settle(config, Path(folder))
            same = replace(chosen, precision="fp32", memory_format="contiguous")
            speeds = photos_per_second(
                {"plain": plain_step(config, batch), "fp32": our_step(same, batch), "chosen": our_step(chosen, batch)}
            )
            ratio, fp32 = speeds["chosen"] / speeds["plain"], speeds["fp32"] / speeds["plain"]
            print(
                f"  {architecture:14} {encoder:13} plain {speeds['plain']:6.2f}  ours fp32 {speeds['fp32']:6.2f} "
                f"({fp32:.2f}x, bar 0.97)  {chosen.precision} {chosen.memory_format} {speeds['chosen']:6.2f} "
                f"({ratio:.2f}x, bar {1.5 if GPU else bar})"
            )
        if GPU:
            print(f"  waiting for photos: {waiting_share(Path(folder)):.1%} of the training time (bar 3%)")


if __name__ == "__main__":
    main()
