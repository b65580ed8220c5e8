"""What a Ray worker tries before any trial starts, where PyTorch is: can what the plan may ask for be built?"""

from dataclasses import replace
from typing import Any

from trainable.config import TrialConfig


def try_model(config: TrialConfig, sizes: list[int]) -> str | None:
    """Return why the config's model cannot be built at some size, its published weights included, or None."""
    from trainable.model.segmenter import build_model, check_model

    try:
        for size in sizes:
            check_model(replace(config, image_size=size))
        if config.encoder_weights == "imagenet":
            build_model(config)  # downloads them now, not in the first trial
    except (ValueError, OSError) as error:
        return str(error)
    return None


def try_models(
    base: TrialConfig, models: list[list[str]], sizes: list[int], strides: dict[str, list[int]]
) -> list[dict[int, str | None]]:
    """Return, for each architecture and encoder and by output stride, why it cannot be built at some size, or None.

    Architectures without a choice of strides have the key 0.
    """
    from trainable.model.segmenter import check_model

    def problem(config: TrialConfig) -> str | None:
        for size in sizes:
            try:
                check_model(replace(config, image_size=size))
            except (ValueError, FileNotFoundError) as error:
                return str(error)
        return None

    problems = []
    for architecture, encoder in models:
        config = replace(base, architecture=architecture, encoder=encoder, decoder={})
        variants = {stride: {"encoder_output_stride": stride} for stride in strides.get(architecture, [])} or {0: {}}
        problems.append({stride: problem(replace(config, decoder=decoder)) for stride, decoder in variants.items()})
    return problems


def try_parts(configs: list[TrialConfig]) -> str | None:
    """Return why a part of some config, other than its model, cannot be built, or None."""
    import torch
    from torch import nn

    from trainable.model.losses import ClassCounts, build_loss
    from trainable.model.optim import build_optimizer
    from trainable.model.schedules import build_schedule
    from trainable.pipeline.augmentation import build_augmentation
    from trainable.pipeline.mixing import build_mixing

    toy, target = nn.Conv2d(3, 1, 1), torch.zeros(2, 8, 8, dtype=torch.int64)
    try:
        for config in configs:
            ones, logits = torch.ones(config.num_classes), torch.randn(2, config.num_classes, 8, 8)
            build_loss(config.loss, ClassCounts(ones, ones))(logits, target)
            build_optimizer(config.optimizer, toy)
            build_schedule(config.scheduler, config.epochs)
            build_augmentation(config.augmentation, config.operations, config.input_shape)
            build_mixing(config.mixing)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error)
    return None


def spell_out(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return configs with the defaults of their parts, which only a process with PyTorch knows."""
    from trainable.engine.config_defaults import spelled_out

    return [spelled_out(config) for config in configs]


def gpu_memory_gb() -> float:
    """Return the memory of this worker's GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9
