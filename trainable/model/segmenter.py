"""Segmentation networks of segmentation_models_pytorch, fed with uint8 photos."""

import contextlib
from functools import cache
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainable.config import TrialConfig
from trainable.geometry import shape_text
from trainable.machine.called_as import command_line
from trainable.model.networks import create_network, fits, fitted
from trainable.spelling import did_you_mean

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Segmenter(nn.Module):
    """A network that takes uint8 RGB photos (N, H, W, 3) and gives logits (N, C, H, W).

    Normalisation belongs to the encoder (its weights were trained with it), so it is part of the model.
    """

    network: Any  # of SMP: its encoder is network.encoder
    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], memory_format: torch.memory_format
    ):
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.memory_format = memory_format
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, photos: Tensor) -> Tensor:
        """Return the logits; the photos' own layout is channels-last already, so only the other one copies."""
        scaled = (photos.permute(0, 3, 1, 2) - self.mean) / self.std
        return self.network(scaled.contiguous(memory_format=self.memory_format))


def build_model(config: TrialConfig, *, load_encoder: bool = True) -> Segmenter:
    """Build the config's network, with its encoder weights unless `load_encoder` is off: then its own weights follow.

    What has weights of its own has been trained, so is not checked again.

    Raises:
        ValueError: unknown architecture or encoder, a pair that does not fit, an image size it cannot take.
        FileNotFoundError: no such encoder weights, or published ones that cannot be downloaded.
    """
    if load_encoder:
        _check_once(config)
    else:
        _check_names(config)  # a config of anyone's may come with weights: timm would load code's choice of files
    try:
        network = create_network(config, published=load_encoder and config.encoder_weights == "imagenet")
    except OSError as error:  # what the hub's client raises without a network, past its own cache and retries
        make = command_line("trainable.encoder_weights", config.encoder, "--out", "DIR")
        raise FileNotFoundError(
            f"the imagenet weights of {config.encoder} cannot be downloaded ({str(error).splitlines()[0]}). Where "
            f"there is a network, run `{make}`; then put "
            f"DIR/{config.encoder}.safetensors on this machine and pass --encoder-weights DIR"
        ) from error
    if load_encoder and config.encoder_weights not in ("none", "imagenet"):
        _load_encoder(network, config)
    return Segmenter(network, *_normalisation(config), FORMATS.get(config.memory_format, torch.channels_last))


_checked: set[str] = set()
"""Configs that passed: the trials of a worker are checked once for each model."""


def _check_once(config: TrialConfig) -> None:
    network = (config.architecture, config.encoder, config.encoder_weights, config.decoder, config.drop_path)
    key = repr((*network, config.num_classes, config.input_shape, config.batch_size, config.accumulation))
    if key not in _checked:
        check_model(config)
        _checked.add(key)


def check_model(config: TrialConfig) -> None:
    """Build the config's network without memory or weights, to find in milliseconds what could not train.

    Raises:
        ValueError: unknown architecture or encoder, a pair that does not fit, an image size it cannot take.
        FileNotFoundError: no such encoder weights.
    """
    _check_names(config)
    if config.encoder_weights == "imagenet":
        _check_published(config.encoder)
    elif config.encoder_weights != "none":
        _encoder_file(config)
    network = build_empty(config)
    if config.encoder_weights not in ("none", "imagenet"):
        _check_file(network, config)
    divisor = int(network.encoder.output_stride) if network.requires_divisible_input_shape else 1
    shape = config.input_shape
    if odd := [side for side in shape if side % divisor]:
        low = odd[0] // divisor * divisor
        sizes = " or ".join(str(size) for size in (low, low + divisor) if size)
        raise ValueError(
            f"{'tile' if config.tile_size else 'image'} size {odd[0]} is not divisible by {divisor}, as "
            f"{config.architecture} with {config.encoder} needs; use {sizes}"
        )
    pair, size = f"{config.architecture} on {config.encoder}", shape_text(shape)
    try:
        logits = network.eval()(torch.empty(1, 3, *shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        why = " ".join(str(error).split()) or "no reason given"
        raise ValueError(f"{pair} cannot take photos of {size} px: {why}; try another size") from error
    if logits.shape != (1, config.num_classes, *shape):
        raise ValueError(f"{pair} gives logits of {shape_text(tuple(logits.shape[2:]))} px for photos of {size} px")
    if config.batch_size // config.accumulation == 1:
        _check_lone_photo(network, config)


def _check_lone_photo(network: Any, config: TrialConfig) -> None:
    """Try what a micro-batch of one photo does to batch norms after a global pooling."""
    try:
        network.train()(torch.empty(1, 3, *config.input_shape, device="meta"))
    except ValueError as error:
        raise ValueError(
            f"{config.architecture} on {config.encoder} cannot train on one photo at a time (batch_size "
            f"{config.batch_size}, accumulation {config.accumulation}): it normalises over them; use at least two"
        ) from error


def build_empty(config: TrialConfig) -> Any:
    """Build the network on the meta device: its shapes without its memory.

    Raises:
        ValueError: the architecture cannot be built on the encoder.
    """
    try:
        try:
            with torch.device("meta"), _ValuesOfLinspace():
                return create_network(config)
        except RuntimeError as error:
            if "meta tensors" not in str(error):
                raise
            return create_network(config).to("meta")  # an encoder that computes with other values while it is built
    except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AssertionError) as error:
        extra = "".join(f" with {name} {value}" for name, value in config.decoder.items())
        why = str(error).strip() or "the encoder cannot be dilated to the output stride"
        raise ValueError(f"{config.architecture} cannot be built on {config.encoder}{extra}: {why}") from error


def loaded_encoder(config: TrialConfig) -> dict[str, Tensor]:
    """Return the encoder weights of the config's folder; none where it names no folder.

    Raises:
        FileNotFoundError: the folder does not hold them.
        ValueError: the file is damaged.
    """
    if config.encoder_weights in ("none", "imagenet"):
        return {}
    path = _encoder_file(config)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); replace it") from error


def parameter_count(model: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class _ValuesOfLinspace(TorchFunctionMode):
    """Gives `linspace` values under the meta device: mit_* encoders take their depths' dropout rates from one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        return func(*args, **({**(kwargs or {}), "device": "cpu"} if func is torch.linspace else kwargs or {}))


def _check_names(config: TrialConfig) -> None:
    architectures = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
    if config.architecture not in architectures:
        hint = did_you_mean(config.architecture, architectures)
        raise ValueError(f"unknown architecture {config.architecture!r}{hint}")
    encoders = list(_encoder_names())
    if config.encoder not in encoders:
        raise ValueError(f"unknown encoder {config.encoder!r}{did_you_mean(config.encoder, encoders)}")


def _check_published(encoder: str) -> None:
    if encoder.startswith("tu-"):
        published = timm.is_model_pretrained(encoder.removeprefix("tu-"))
    else:
        published = "imagenet" in smp.encoders.encoders[encoder]["pretrained_settings"]
    if not published:
        raise ValueError(f"no imagenet weights of {encoder} are published; use --encoder-weights none or a folder")


@cache
def _encoder_names() -> frozenset[str]:
    return frozenset(smp.encoders.get_encoder_names()) | {
        f"tu-{name}" for name in (*timm.list_models(), *timm.list_pretrained())
    }


def _normalisation(config: TrialConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    encoder, weights = config.encoder, config.encoder_weights
    # SMP asks the hub for the figures of its own encoders, so only when their weights come from there too.
    if weights == "imagenet" or encoder.startswith("tu-"):
        with contextlib.suppress(ValueError):  # no published weights, so any figures will do
            params = smp.encoders.get_preprocessing_params(encoder, "imagenet")
            return tuple(params["mean"]), tuple(params["std"])
    if encoder.startswith(("inception", "xception")):
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    return IMAGENET_MEAN, IMAGENET_STD


def _encoder_file(config: TrialConfig) -> Path:
    path = Path(config.encoder_weights) / f"{config.encoder}.safetensors"
    if not path.exists():
        available = ", ".join(sorted(file.stem for file in path.parent.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"no encoder weights {path}; {path.parent} has: {available}. Name another folder")
    return path


def _check_file(network: Any, config: TrialConfig) -> None:
    """Compare the names and shapes in the file's header with the encoder's: architectures take other parts of it."""
    path = _encoder_file(config)
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); replace it") from error
    own = {name: tuple(tensor.shape) for name, tensor in network.encoder.state_dict().items()}
    wrong = [name for name, shape in own.items() if name not in shapes or not fits(name, shapes[name], shape)]
    if wrong:
        raise ValueError(
            f"{config.architecture} cannot be built on {config.encoder} with {path}: the file lacks {len(wrong)} of "
            f"its weights, such as {wrong[0]}"
        )


def _load_encoder(network: Any, config: TrialConfig) -> None:
    network.encoder.load_state_dict(fitted(loaded_encoder(config), network.encoder))
