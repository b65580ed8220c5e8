"""First trials of a search on GPUs: recipes that won in public, each with its source, at the sizes a GPU trains.

What a CPU has liked at 128 px is not tried there. The reference recipe is, as it is.
"""

from dataclasses import dataclass
from typing import Any

from spaces import augmentations

Params = dict[str, Any]

PLAIN: Params = {"encoder_lr_factor": 1.0, "clip_norm": 0.0, "ema_decay": 0.0, "freeze_share": 0.0}
"""All layers at one rate from the first step on, each step as it is."""

CROPS: Params = {
    **augmentations.REFERENCE,
    "augmentation": "light",
    "random_resized_crop": True, "random_resized_crop_p": 0.6, "random_resized_crop_smallest": 0.25,
    "colour": True, "colour_p": 0.5, "colour_strength": 0.25,
}  # fmt: skip
"""Flips, crops at half to twice the scale and photometric distortion, as mmsegmentation trains all its networks."""

WARM: Params = {"scheduler": "polynomial", "warmup": 0.02, "power": 1.0}
"""A short warm-up, then straight down to zero: 1,500 to 3,000 of 160,000 steps in the sources below."""


@dataclass(frozen=True)
class Recipe:
    """A training that has won, in values of the spaces."""

    source: str
    architecture: str
    encoders: tuple[str, ...]
    """The largest first: a GPU takes the first that its group has."""
    values: Params
    """By the names that the spaces sample, without those of the encoder and the image size."""
    image_size: int
    """Pixels per side: the nearest that the run has is taken."""


REFERENCE = Recipe(
    "the reference recipe: focal loss, Adam at 1e-4, cosine warm-up restarts, the rarest class pasted",
    "unetplusplus",
    ("efficientnet-b5", "efficientnet-b4", "efficientnet-b3", "efficientnet-b7", "efficientnet-b1", "efficientnet-b0"),
    {
        **PLAIN, **augmentations.REFERENCE, "decoder_width": 256, "loss": "focal", "focal_gamma": 2.0,
        "optimizer": "adam", "lr": 1e-4, "l2": 1e-6,
        "scheduler": "cosine_restarts", "first_cycle": 0.25, "cycle_multiplier": 1.0, "cycle_warmup": 0.1,
        "peak_decay": 0.5,
        "oversampling": "paste", "oversampling_ratio": 0.1, "rare_classes": 1, "paste_min_area": 1e-3,
        "paste_max_area": 0.3, "paste_backgrounds": "any",
    },
    512,
)  # fmt: skip


def _upernet(
    source: str,
    encoders: tuple[str, ...],
    image_size: int,
    lr: float,
    weight_decay: float,
    drop_path: float,
    layer_decay: float,
) -> Recipe:
    """Return what all of mmsegmentation's UPerNet recipes have in common: AdamW, cross-entropy, `WARM` and `CROPS`."""
    values = {
        **PLAIN, **CROPS, **WARM, "decoder_channels": 256, "drop_path": drop_path, "layer_decay": layer_decay,
        "optimizer": "adamw", "lr": lr, "weight_decay": weight_decay,
        "loss": "cross_entropy", "label_smoothing": 0.0, "oversampling": "none",
    }  # fmt: skip
    return Recipe(source, "upernet", encoders, values, image_size)


RECIPES: tuple[Recipe, ...] = (
    REFERENCE,
    _upernet(
        "mmsegmentation, convnext-xlarge_upernet_8xb2-amp-160k_ade20k-640x640.py; "
        "boostcampaitech3 cv-18: 0.818 with it",
        ("tu-convnext_xlarge.fb_in22k", "tu-convnext_large.fb_in22k", "tu-convnext_base.fb_in22k",
         "tu-convnext_small.fb_in22k", "tu-convnext_tiny.fb_in22k"),
        640, 8e-5, 0.05, 0.4, 0.9,
    ),
    _upernet(
        "mmsegmentation, swin-large-patch4-window12-in22k-384x384-pre_upernet_8xb2-160k_ade20k-512x512.py; "
        "boostcampaitech2 cv-17: 0.789 with it",
        ("tu-swin_large_patch4_window12_384.ms_in22k", "tu-swin_base_patch4_window12_384.ms_in22k",
         "tu-swin_small_patch4_window7_224.ms_in22k", "tu-swin_tiny_patch4_window7_224.ms_in22k"),
        512, 6e-5, 0.01, 0.3, 1.0,
    ),
    _upernet(
        "mmsegmentation, upernet_beit-large_fp16_8x1_640x640_160k_ade20k.py; boostcampaitech3 cv-19: 0.777 with it",
        ("tu-beit_large_patch16_512.in22k_ft_in22k_in1k", "tu-beitv2_large_patch16_224.in1k_ft_in22k",
         "tu-beitv2_base_patch16_224.in1k_ft_in22k"),
        640, 2e-5, 0.05, 0.2, 0.95,
    ),
    _upernet(
        "baaivision/EVA, upernet_eva02_large_24_512_slide_80k.py",
        ("tu-eva02_large_patch14_448.mim_m38m_ft_in22k", "tu-eva02_base_patch14_448.mim_in22k_ft_in22k"),
        512, 4e-5, 0.05, 0.2, 0.9,
    ),
)  # fmt: skip
"""In the order in which they are tried."""
