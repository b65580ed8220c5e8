"""Vision transformers of a single scale as encoders: at any image size, for any patch, and under every decoder.

SMP takes them under DPT alone, and only where their patches are 16 pixels wide. Here the tokens of other patches are
resampled to a grid of 16 pixels, and four blocks make the pyramid that the other decoders read: the tokens of each
resampled to its stride, as the feature pyramids of BEiT (Bao et al. 2022) and of ViTDet (Li et al. 2022), whose learnt
upsampling is the decoders' own here.
"""

from typing import Any

import segmentation_models_pytorch as smp
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationModel
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, DPTSegmentationHead
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor

GRID = 16
"""Pixels of the photo per token, after resampling."""

LEVELS = (4, 8, 16, 32)
"""Pixels of the photo per pixel of each feature map of the pyramid."""


class GridEncoder(TimmViTEncoder):
    """A vision transformer whose feature maps (N, C, H / 16, W / 16) lie on a grid of 16 pixels, whatever its patch."""

    output_stride: int
    output_strides: list[int]
    out_channels: list[int]

    def __init__(self, name: str, **options: Any):
        super().__init__(name, **options)
        self.patch = self.output_stride
        self.output_strides = [GRID for _ in self.output_strides]
        self.output_stride = GRID

    def forward(self, photos: Tensor) -> tuple[list[Tensor], list[Tensor | None]]:
        """Return the feature maps of four blocks and their prefix tokens; photos are padded to whole patches."""
        height, width = photos.shape[-2:]
        padded = F.pad(photos, (0, -width % self.patch, 0, -height % self.patch))
        features, prefixes = super().forward(padded)
        return [self._on_grid(feature, height, width) for feature in features], prefixes

    def _on_grid(self, feature: Tensor, height: int, width: int) -> Tensor:
        if self.patch != GRID:
            # By the scale, not by the size: what was padded would stretch the map otherwise.
            feature = F.interpolate(feature, scale_factor=self.patch / GRID, mode="bilinear")
        return feature[..., : height // GRID, : width // GRID]


class PyramidEncoder(GridEncoder):
    """The same with a feature map at each stride of a convolutional encoder, for all decoders but DPT."""

    def __init__(self, name: str, depth: int = 5, output_stride: int = 32, **options: Any):
        if output_stride != LEVELS[-1]:
            raise ValueError(f"a vision transformer has no output stride of {output_stride}, use {LEVELS[-1]}")
        if not 2 <= depth <= 1 + len(LEVELS):
            raise ValueError(f"a vision transformer gives 2 to {1 + len(LEVELS)} stages, found {depth}")
        super().__init__(name, depth=depth - 1, **options)
        self.output_stride = LEVELS[depth - 2]
        self.out_channels = [3, 0, *self.out_channels]

    def forward(self, photos: Tensor) -> list[Tensor]:  # type: ignore[override]  # what other decoders read
        """Return the photos, an empty map at stride 2, and one map for each stride from 4 on."""
        features, _ = super().forward(photos)
        count, _, height, width = photos.shape
        maps = [self._at(feature, stride) for feature, stride in zip(features, LEVELS, strict=False)]
        return [photos, photos.new_empty(count, 0, height // 2, width // 2), *maps]

    @staticmethod
    def _at(feature: Tensor, stride: int) -> Tensor:
        if stride > GRID:
            return F.max_pool2d(feature, stride // GRID)
        return F.interpolate(feature, scale_factor=GRID / stride, mode="bilinear") if stride < GRID else feature

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """SMP asks for it; photos have three."""


class GridDPT(smp.DPT):
    """SMP's DPT on a `GridEncoder`, so that patches of 14 pixels and sizes that they do not divide fit too."""

    def __init__(
        self,
        encoder_name: str,
        encoder_weights: str | None,
        classes: int,
        decoder_readout: str = "cat",
        decoder_intermediate_channels: tuple[int, ...] = (256, 512, 1024, 1024),
        decoder_fusion_channels: int = 256,
        **options: Any,
    ):
        SegmentationModel.__init__(self)
        name = encoder_name.removeprefix("tu-")
        self.encoder = GridEncoder(name, pretrained=encoder_weights is not None, **options)
        self.decoder = DPTDecoder(
            encoder_out_channels=self.encoder.out_channels,
            encoder_output_strides=self.encoder.output_strides,
            encoder_has_prefix_tokens=self.encoder.has_prefix_tokens,
            readout=decoder_readout,
            intermediate_channels=decoder_intermediate_channels,
            fusion_channels=decoder_fusion_channels,
        )
        self.segmentation_head = DPTSegmentationHead(decoder_fusion_channels, classes, kernel_size=3, upsampling=2)
        self.classification_head = None
        self.name = f"dpt-{name}"
        self.initialize()
