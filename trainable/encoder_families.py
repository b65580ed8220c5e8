"""What is known of an encoder by its name, without PyTorch: how it likes to be trained, and whose licence it has."""

TRANSFORMERS = (
    "mit_", "tu-beit", "tu-cait", "tu-convnext", "tu-deit", "tu-eva", "tu-hiera", "tu-maxvit", "tu-pvt",
    "tu-sam2_hiera", "tu-swin", "tu-twins", "tu-vit_", "tu-xcit",
)  # fmt: skip
"""How their names begin. ConvNeXt is among them: its published recipes are a transformer's (Liu et al. 2022)."""

PLAIN = ("tu-beit", "tu-deit", "tu-eva", "tu-vit_")
"""Vision transformers of one scale: patches of 14 or 16 pixels from the first block to the last."""

LICENCES = {
    "mit_": "NVIDIA Source Code License for SegFormer: research alone",
    "tu-convnextv2": "CC BY-NC 4.0: no commercial use",
    "tu-hiera": "CC BY-NC 4.0: no commercial use",
    ".dinov3": "DINOv3 License: Meta's own terms",
    "_dinov3": "DINOv3 License: Meta's own terms",
}
"""Of published weights that are not for everybody and everything, by a part of the encoder's name.

Sources: the models' pages of timm and segmentation_models_pytorch; timm's are compared by a test.
"""


def is_transformer(encoder: str) -> bool:
    """Tell whether an encoder is trained as transformers are: at low rates, with layer-wise decay and drop path."""
    return encoder.startswith(TRANSFORMERS)


def is_plain(encoder: str) -> bool:
    """Tell whether an encoder is a vision transformer of a single scale."""
    return encoder.startswith(PLAIN)


def takes_drop_path(encoder: str) -> bool:
    """Tell whether an encoder's drop path can be chosen: of transformers only those of timm take it."""
    return is_transformer(encoder) and encoder.startswith("tu-")


def licence(encoder: str) -> str:
    """Return what limits the use of an encoder's published weights; empty where their licence is a free one."""
    return next((terms for part, terms in LICENCES.items() if part in encoder), "")
