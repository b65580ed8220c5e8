"""Architectures on encoders. Which pairs a run can build at its image size is found before its first trial."""

from typing import Any

import optuna

ARCHITECTURES = (
    "unetplusplus", "deeplabv3plus", "unet", "fpn", "pan", "manet", "linknet", "pspnet", "upernet", "segformer", "dpt",
)  # fmt: skip

# Encoders by size. ns_jft_in1k are the noisy-student weights.
GROUPS: dict[str, tuple[str, ...]] = {
    # up to 13 M parameters: a CPU, or a GPU of less than 12 GB
    "light": (
        "mobilenet_v2", "tu-mobilenetv3_large_100", "tu-tf_efficientnet_lite0", "tu-tf_efficientnet_lite2", "resnet18",
        "efficientnet-b0", "efficientnet-b1", "tu-tf_efficientnet_b0.ns_jft_in1k", "mit_b0", "mit_b1",
        "tu-convnext_atto", "tu-hrnet_w18_small_v2",
    ),
    # 10 to 45 M: 12 to 28 GB, such as a V100
    "medium": (
        "resnet34", "resnet50", "resnext50_32x4d", "se_resnext50_32x4d", "efficientnet-b3", "efficientnet-b4",
        "efficientnet-b5", "tu-tf_efficientnet_b3.ns_jft_in1k",
        "tu-tf_efficientnet_b5.ns_jft_in1k", "mit_b2", "mit_b3", "tu-convnext_tiny",
        "tu-swin_tiny_patch4_window7_224", "tu-hrnet_w18",
    ),
    # 40 to 200 M: 28 GB and more
    "large": (
        "resnet101", "resnext101_32x8d", "se_resnext101_32x4d", "efficientnet-b6", "efficientnet-b7",
        "tu-tf_efficientnet_b7.ns_jft_in1k", "mit_b4", "mit_b5", "tu-convnext_base", "tu-convnext_large",
        "tu-swin_base_patch4_window7_224", "tu-hrnet_w48",
    ),
}  # fmt: skip

Model = tuple[str, str]
"""An architecture and an encoder."""

Strides = dict[str, tuple[int, ...]]
"""Output strides to choose from, by architecture."""


def group_for(memory_gb: float | None) -> str:
    """Return the group that fits a device's memory in GB; None is a CPU."""
    if memory_gb is None or memory_gb < 12:
        return "light"
    return "medium" if memory_gb < 28 else "large"


def pairs(group: str) -> list[Model]:
    """Return every architecture on every encoder of a group.

    Raises:
        ValueError: there is no such group.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown encoder group {group!r}; the groups are: {', '.join(GROUPS)}")
    return [(architecture, encoder) for encoder in GROUPS[group] for architecture in ARCHITECTURES]


def encoders(trial: optuna.Trial, models: tuple[Model, ...], strides: Strides) -> dict[str, Any]:
    """Sample one of the models and what its decoder has to choose; `strides` are those that all its encoders take."""
    architecture = trial.suggest_categorical("architecture", sorted({name for name, _ in models}))
    fitting = sorted(encoder for name, encoder in models if name == architecture)
    return {
        "architecture": architecture,
        "encoder": trial.suggest_categorical(encoder_name(models, architecture), fitting),
        "decoder": _decoder(trial, architecture, strides),
    }


def _decoder(trial: optuna.Trial, architecture: str, strides: Strides) -> dict[str, Any]:
    """Sample width, dropout and output stride where the architecture has them."""
    decoder: dict[str, Any] = {}
    if architecture in ("unetplusplus", "unet", "manet"):
        # channels from the deepest stage outwards; SMP's default, half of it and a quarter
        width = trial.suggest_categorical("decoder_width", (64, 128, 256))
        decoder["decoder_channels"] = [width, width // 2, width // 4, width // 8, width // 16]
    if architecture in ("deeplabv3plus", "upernet"):
        decoder["decoder_channels"] = trial.suggest_categorical("decoder_channels", (64, 128, 256))
    if architecture in WIDTHS:
        name, widths = WIDTHS[architecture]
        decoder[name] = trial.suggest_categorical(f"{architecture}_channels", widths)
    if architecture in DROPOUTS:
        # share of channels; SMP's defaults are 0.5 for DeepLabV3+ and 0.2 for FPN and PSPNet
        decoder[DROPOUTS[architecture]] = trial.suggest_float("decoder_dropout", 0.0, 0.5)
    if architecture in strides:
        # pixels of the photo per pixel of the deepest features
        decoder["encoder_output_stride"] = trial.suggest_categorical(f"{architecture}_stride", strides[architecture])
    return decoder


# Arguments of single architectures and their values, in channels: SMP's default and what is half or twice of it.
WIDTHS = {
    "segformer": ("decoder_segmentation_channels", (64, 128, 256)),
    "fpn": ("decoder_pyramid_channels", (128, 256)),
    "pan": ("decoder_channels", (32, 64)),
    "pspnet": ("psp_out_channels", (256, 512)),
    "dpt": ("decoder_fusion_channels", (128, 256)),
}
DROPOUTS = {"deeplabv3plus": "decoder_aspp_dropout", "fpn": "decoder_dropout", "pspnet": "psp_dropout"}
STRIDES: Strides = {"deeplabv3plus": (16, 8), "pan": (16, 32)}
"""By architecture, SMP's default first."""


WANTED = ("efficientnet-b0", "tu-tf_efficientnet_lite0", "efficientnet-b5", "efficientnet-b7")
"""Encoders of the reference recipe's kind, for the first trials."""


def first_trials(models: tuple[Model, ...]) -> tuple[dict[str, Any], ...]:
    """Return the reference recipe, UNet++ on an EfficientNet and DeepLabV3+, as far as the run has them."""
    trials = []
    for architecture, decoder in (
        ("unetplusplus", {"decoder_width": 256}),
        ("deeplabv3plus", {"decoder_channels": 256, "decoder_dropout": 0.5, "deeplabv3plus_stride": 16}),
    ):
        fitting = sorted(encoder for name, encoder in models if name == architecture)
        if fitting:
            encoder = next((name for name in WANTED if name in fitting), fitting[0])
            trials.append(point(models, architecture, encoder, **decoder))
    return tuple(trials) or tuple(point(models, *model) for model in models[:1])


def point(models: tuple[Model, ...], architecture: str, encoder: str, **more: Any) -> dict[str, Any]:
    """Return a trial's values under the names they are sampled by."""
    return {"architecture": architecture, encoder_name(models, architecture): encoder, **more}


def encoder_name(models: tuple[Model, ...], architecture: str) -> str:
    """Return the name an architecture's encoder is sampled by: those that take all share what is learnt of them."""
    fitting = {encoder for name, encoder in models if name == architecture}
    return "encoder" if fitting == {encoder for _, encoder in models} else f"{architecture}_encoder"


BEST: dict[str, Any] = {
    "architecture": "upernet", "encoder": "tu-tf_efficientnet_lite2", "decoder_channels": 128, "lr": 6.8e-4,
}  # fmt: skip
"""docs/results.md has the run."""


def best(models: tuple[Model, ...]) -> dict[str, Any] | None:
    """Return the recorded winner under this run's names, or None where the run cannot build it."""
    values = dict(BEST)
    model = values.pop("architecture"), values.pop("encoder")
    return point(models, *model, **values) if model in models else None
