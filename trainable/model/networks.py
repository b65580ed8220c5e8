"""Makes SMP's networks on encoders of SMP, of timm and on plain vision transformers, for the config's image size."""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn

from trainable.config import TrialConfig
from trainable.encoder_families import is_plain
from trainable.model.vit_encoder import GridDPT, GridEncoder, PyramidEncoder

PYRAMID = "pyramid-of-"
"""Begins the names under which SMP knows a plain vision transformer while it makes a network of it."""

TABLE = ".relative_position_bias_table"
PREFIX_TOKENS = range(6)
"""Tokens before the patches' own that a position embedding may have: of the class, and up to four registers."""


def create_network(config: TrialConfig, published: bool = False) -> Any:
    """Return SMP's network for a config, its encoder with its published weights or with random ones.

    Raises:
        OSError: the published weights cannot be downloaded.
        ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AssertionError: the libraries cannot
            build it.
    """
    option = size_option(config.encoder)
    sized = {option: config.input_shape if option == "img_size" else True} if option else {}
    # Tables whose shape depends on the size come as published and are resampled then.
    resample = published and option == "img_size"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SMP's own renaming of timm- to tu-, and its advice on DPT's tokens
        network = _create(config, sized, published and not resample)
        if resample:
            native = _create(config, {}, published).encoder
            network.encoder.load_state_dict(fitted(native.state_dict(), network.encoder))
    return network


def create_encoder(encoder: str, published: bool) -> nn.Module:
    """Return an encoder as its weights are published, with all that any architecture takes of them."""
    if is_plain(encoder):
        return GridEncoder(encoder.removeprefix("tu-"), pretrained=published)
    module: nn.Module = smp.encoders.get_encoder(encoder, weights="imagenet" if published else None)
    return module


@cache
def size_option(encoder: str) -> str | None:
    """Return the argument by which timm's encoder takes other image sizes than its own; None where it takes all.

    `dynamic_img_size` leaves the weights as they are; by `img_size` their shapes depend on the size.
    """
    name = encoder.removeprefix("tu-")
    published = timm.get_pretrained_cfg(name) if encoder.startswith("tu-") else None
    if published is None or not published.fixed_input_size:
        return None
    options: dict[str, Any] = {"dynamic_img_size": True, "img_size": published.input_size[-1]}
    for option, value in options.items():
        arguments: Any = {option: value}
        try:
            with torch.device("meta"):
                timm.create_model(name, **arguments)
            return option
        except (TypeError, RuntimeError, NotImplementedError):  # it has no such argument, or computes with values
            continue
    return None


def has_fixed_size(config: TrialConfig) -> bool:
    """Tell whether the shapes of the config's weights depend on its image size."""
    return size_option(config.encoder) == "img_size"


def fitted(weights: Mapping[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Return an encoder's weights out of published ones, positions resampled where the image size differs.

    Raises:
        KeyError: one is missing.
    """
    return {name: _fitted(name, weights[name], own, encoder) for name, own in encoder.state_dict().items()}


def fits(name: str, published: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Tell whether a weight of a published shape is one of the encoder's own shape, or can be resampled to it."""
    if published == own:
        return True
    if name.endswith(TABLE):
        return len(published) == len(own) == 2 and published[1] == own[1]
    return name.endswith("pos_embed") and _published_grid(published, own) is not None


def _create(config: TrialConfig, options: dict[str, Any], published: bool) -> Any:
    encoder, weights = config.encoder, "imagenet" if published else None
    if config.drop_path:
        options = {**options, "drop_path_rate": config.drop_path}
    if is_plain(encoder) and config.architecture == "dpt":
        return GridDPT(encoder, weights, config.num_classes, **config.decoder, **options)
    if is_plain(encoder):
        params = {"name": encoder.removeprefix("tu-"), "pretrained": published, "num_classes": 0, **options}
        entry = {"encoder": PyramidEncoder, "params": params, "pretrained_settings": {}}
        encoder, weights, options = PYRAMID + encoder, None, {}
        smp.encoders.encoders[encoder] = entry
    options = {**config.decoder, **options}
    try:
        return smp.create_model(config.architecture, encoder, weights, classes=config.num_classes, **options)
    finally:
        if encoder.startswith(PYRAMID):
            del smp.encoders.encoders[encoder]


def _fitted(name: str, published: Tensor, own: Tensor, encoder: nn.Module) -> Tensor:
    if published.shape == own.shape:
        return published
    if name.endswith(TABLE):
        window: Any = encoder.get_submodule(name.removesuffix(TABLE)).window_size
        table: Tensor = resize_rel_pos_bias_table(published, new_window_size=window, new_bias_shape=tuple(own.shape))
        return table
    if not name.endswith("pos_embed") or _published_grid(tuple(published.shape), tuple(own.shape)) is None:
        return published  # which PyTorch refuses by its name
    rows, columns = _grid(encoder, own.shape[1])
    prefix = own.shape[1] - rows * columns
    embedding: Tensor = resample_abs_pos_embed(published, new_size=[rows, columns], num_prefix_tokens=prefix)
    return embedding


def _grid(encoder: nn.Module, tokens: int) -> tuple[int, int]:
    """Return the rows and columns of an encoder's patches; where it does not tell them, of the square of its tokens."""
    for module in encoder.modules():
        grid: Any = getattr(module, "grid_size", None)
        if grid:
            return int(grid[0]), int(grid[1])
    for prefix in PREFIX_TOKENS:
        side = round((tokens - prefix) ** 0.5)
        if side**2 == tokens - prefix:
            return side, side
    raise ValueError(
        f"{type(encoder).__name__} says nothing of the grid of its {tokens} patches, which are no square; take square "
        "photos: an --image-size HxW of two equal sides"
    )


def _published_grid(published: tuple[int, ...], own: tuple[int, ...]) -> int | None:
    """Return the side of the square of patches that a published position embedding is of; None if it is none."""
    if len(published) != 3 or len(own) != 3 or published[2] != own[2]:
        return None
    sides = ((prefix, round((published[1] - prefix) ** 0.5)) for prefix in PREFIX_TOKENS)
    return next((side for prefix, side in sides if side**2 == published[1] - prefix and own[1] > prefix), None)
