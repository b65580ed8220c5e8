"""Training steps per second on this CPU in fp32 and bf16, one thread, side by side: python -m benchmarks.precision."""

import time

import torch

from trainable.config import TrialConfig
from trainable.losses import cross_entropy
from trainable.models import build_model
from trainable.optim import build_optimizer

MODELS = (
    ("unetplusplus", "tu-tf_mobilenetv3_small_minimal_100", 96),
    ("unetplusplus", "tu-tf_efficientnet_lite0", 128),
    ("deeplabv3plus", "tu-tf_mobilenetv3_small_minimal_100", 96),
    ("deeplabv3plus", "tu-tf_efficientnet_lite0", 192),
)


def make_step(config: TrialConfig, dtype: torch.dtype | None):
    torch.manual_seed(0)
    model = build_model(config).to(memory_format=torch.channels_last)
    optimizer, loss = build_optimizer(config.optimizer, model.parameters()), cross_entropy()
    photos = torch.randint(0, 256, (8, config.image_size, config.image_size, 3), dtype=torch.uint8)
    masks = torch.randint(0, 11, photos.shape[:3])

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            logits = model(photos)
        optimizer.zero_grad()
        loss(logits.float(), masks).backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def main(rounds: int = 12) -> None:
    torch.set_num_threads(1)
    print("precision on this CPU: photos per second, batch 8, one thread")
    for architecture, encoder, size in MODELS:
        config = TrialConfig(architecture=architecture, encoder=encoder, image_size=size)
        steps = {"fp32": make_step(config, None), "bf16": make_step(config, torch.bfloat16)}
        seconds = {name: [] for name in steps}
        for _ in range(rounds):  # interleaved: a busy moment hits both alike
            for name, step in steps.items():
                seconds[name].append(step())
        fp32, bf16 = (8 / sorted(each)[rounds // 2] for each in seconds.values())
        speeds = f"fp32 {fp32:6.1f}  bf16 {bf16:6.1f}  ratio {bf16 / fp32:.2f}"
        print(f"  {architecture:14} {encoder:36} {size:4} px  {speeds}")


if __name__ == "__main__":
    main()
