"""Architectures on encoders. Which pairs a run can build at its image size is found before its first trial."""

from typing import Any

import optuna

from trainable.config_names import encoders as known_encoders
from trainable.encoder_families import is_transformer, takes_drop_path
from trainable.spelling import nearest

ARCHITECTURES = (
    "unetplusplus", "deeplabv3plus", "unet", "fpn", "pan", "manet", "linknet", "pspnet", "upernet", "segformer", "dpt",
)  # fmt: skip

# Encoders by the memory that UPerNet on them takes at 512 px in batches of 8 (`python -m benchmarks.groups`), all under
# free licences: MIT, BSD or Apache. ns_jft_in1k are the noisy-student weights, in22k those of ImageNet-22k.
GROUPS: dict[str, tuple[str, ...]] = {
    # a CPU, or a GPU of less than 12 GB: up to 13 M parameters
    "light": (
        "mobilenet_v2", "tu-mobilenetv3_large_100", "tu-tf_efficientnet_lite0", "tu-tf_efficientnet_lite2", "resnet18",
        "efficientnet-b0", "efficientnet-b1", "tu-tf_efficientnet_b0.ns_jft_in1k", "tu-convnext_atto",
        "tu-hrnet_w18_small_v2",
    ),
    # 12 to 28 GB, such as a V100: 10 to 60 M
    "medium": (
        "resnet34", "resnet50", "resnext50_32x4d", "se_resnext50_32x4d", "efficientnet-b3", "efficientnet-b4",
        "efficientnet-b5", "tu-tf_efficientnet_b3.ns_jft_in1k", "tu-tf_efficientnet_b5.ns_jft_in1k", "tu-hrnet_w18",
        "tu-convnext_tiny.fb_in22k", "tu-convnext_small.fb_in22k", "tu-swin_tiny_patch4_window7_224.ms_in22k",
        "tu-swin_small_patch4_window7_224.ms_in22k", "tu-sam2_hiera_small.fb_r896_2pt1",
        "tu-vit_small_patch14_reg4_dinov2.lvd142m",
    ),
    # 28 to 40 GB: 40 to 210 M
    "large": (
        "resnet101", "resnext101_32x8d", "se_resnext101_32x4d", "efficientnet-b6", "efficientnet-b7",
        "tu-tf_efficientnet_b7.ns_jft_in1k", "tu-hrnet_w48", "tu-convnext_base.fb_in22k", "tu-convnext_large.fb_in22k",
        "tu-swin_base_patch4_window12_384.ms_in22k", "tu-swin_large_patch4_window12_384.ms_in22k",
        "tu-sam2_hiera_base_plus.fb_r896_2pt1", "tu-beitv2_base_patch16_224.in1k_ft_in22k",
        "tu-eva02_base_patch14_448.mim_in22k_ft_in22k", "tu-vit_base_patch14_reg4_dinov2.lvd142m",
    ),
    # 40 GB and more: the competition's winners and their successors, up to 360 M
    "huge": (
        "efficientnet-b5", "efficientnet-b7", "tu-tf_efficientnet_b7.ns_jft_in1k", "tu-hrnet_w48",
        "tu-convnext_large.fb_in22k", "tu-convnext_xlarge.fb_in22k", "tu-swin_base_patch4_window12_384.ms_in22k",
        "tu-swin_large_patch4_window12_384.ms_in22k", "tu-sam2_hiera_large.fb_r1024_2pt1",
        "tu-beitv2_large_patch16_224.in1k_ft_in22k", "tu-beit_large_patch16_512.in22k_ft_in22k_in1k",
        "tu-eva02_large_patch14_448.mim_m38m_ft_in22k", "tu-vit_base_patch14_reg4_dinov2.lvd142m",
        "tu-vit_large_patch14_reg4_dinov2.lvd142m",
    ),
}  # fmt: skip

NOT_FREE = (
    "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5", "tu-convnextv2_tiny.fcmae_ft_in22k_in1k_384",
    "tu-convnextv2_base.fcmae_ft_in22k_in1k_384", "tu-convnextv2_large.fcmae_ft_in22k_in1k_384",
    "tu-convnextv2_huge.fcmae_ft_in22k_in1k_512", "tu-hiera_base_plus_224.mae_in1k_ft_in1k",
    "tu-hiera_large_224.mae_in1k_ft_in1k", "tu-convnext_tiny.dinov3_lvd1689m", "tu-convnext_base.dinov3_lvd1689m",
    "tu-convnext_large.dinov3_lvd1689m", "tu-vit_small_patch16_dinov3.lvd1689m", "tu-vit_base_patch16_dinov3.lvd1689m",
    "tu-vit_large_patch16_dinov3.lvd1689m",
)  # fmt: skip
"""Encoders worth a try whose weights have terms of their own (`trainable/encoder_families.py`): for those who name
them, in no group."""

Model = tuple[str, str]
"""An architecture and an encoder."""

Strides = dict[str, tuple[int, ...]]
"""Output strides to choose from, by architecture."""


def group_for(memory_gb: float | None) -> str:
    """Return the group that fits a device's memory in GB; None is a CPU."""
    if memory_gb is None or memory_gb < 12:
        return "light"
    return "medium" if memory_gb < 28 else "large" if memory_gb < 40 else "huge"


def pairs(names: str) -> list[Model]:
    """Return every architecture on every encoder of some groups, or named one by one, all joined by commas.

    Raises:
        ValueError: neither a group nor an encoder has such a name.
    """
    chosen: dict[str, None] = {}
    for name in names.split(","):
        if name not in GROUPS:
            _check_encoder(name)
        chosen |= dict.fromkeys(GROUPS.get(name, (name,)))
    return [(architecture, encoder) for encoder in chosen for architecture in ARCHITECTURES]


def _check_encoder(name: str) -> None:
    known = [*GROUPS, *known_encoders()]
    if name.partition(".")[0] not in known:  # tu-NAME.TAG is one of timm's published weights
        near = nearest(name, known)
        hint = f", did you mean {near[0]!r}" if near else ""
        groups = ", ".join(GROUPS)
        raise ValueError(f"unknown encoder or group of encoders {name!r}{hint}; the groups are: {groups}")


def encoders(
    trial: optuna.Trial, models: tuple[Model, ...], strides: Strides, pretrained: bool = False
) -> dict[str, Any]:
    """Sample one of the models, what its decoder has to choose, and how a pretrained transformer is spared.

    Args:
        trial: that asks.
        models: to choose from.
        strides: output strides that all encoders of an architecture take.
        pretrained: whether the encoders begin with weights.
    """
    architecture = trial.suggest_categorical("architecture", sorted({name for name, _ in models}))
    fitting = sorted(encoder for name, encoder in models if name == architecture)
    encoder = trial.suggest_categorical(encoder_name(models, architecture), fitting)
    parts: dict[str, Any] = {"architecture": architecture, "encoder": encoder}
    parts["decoder"] = _decoder(trial, architecture, strides)
    if pretrained and is_transformer(encoder):
        # of each layer's rate, as a share of the next one's; 0.9 to 0.95 for BEiT-L, EVA-02 and ConvNeXt, 1 for Swin
        parts["layer_decay"] = trial.suggest_float("layer_decay", 0.7, 1.0)
    if pretrained and takes_drop_path(encoder):
        # chance, of the deepest residual branch; 0.1 to 0.4 in the same recipes
        parts["drop_path"] = trial.suggest_float("drop_path", 0.0, 0.5)
    return parts


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
        fitting = sorted((encoder for name, encoder in models if name == architecture), key=_convolutional_first)
        if fitting:
            encoder = next((name for name in WANTED if name in fitting), fitting[0])
            trials.append(point(models, architecture, encoder, **decoder))
    return tuple(trials) or tuple(point(models, *model) for model in models[:1])


def _convolutional_first(encoder: str) -> tuple[bool, str]:
    return is_transformer(encoder), encoder


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
