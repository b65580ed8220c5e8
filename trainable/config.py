"""The config of one trial: everything that decides its result, and nothing else."""

import math
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

Choice = dict[str, Any]
"""A named part and its parameters, as {"name": "focal", "gamma": 2.0}; what is left out has the part's default."""

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One training of one fold. Paths are not part of it: the same config gives the same trial on any machine."""

    seed: int = 0
    """Every random stream of the trial derives from it."""
    fold: int = 0
    """The fold that validates; all others train."""
    epochs: int = 12
    """Full budget in epochs; the learning-rate schedule spans all of it, also if the trial is stopped early."""
    image_size: int = 96
    """Pixels per side in training and validation."""
    batch_size: int = 8
    """Photos per optimizer step."""
    architecture: str = "unetplusplus"
    """A segmentation_models_pytorch architecture, such as unetplusplus or deeplabv3plus."""
    encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """A segmentation_models_pytorch encoder; `tu-NAME` takes timm's NAME."""
    encoder_weights: str = "none"
    """`none`, `imagenet` (downloaded), or a folder that holds ENCODER.safetensors."""
    decoder: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the architecture, such as {"decoder_channels": [64, 32, 16, 8, 8]}."""
    loss: Choice = field(default_factory=lambda: {"name": "cross_entropy"})
    """See `trainable/losses.py`."""
    optimizer: Choice = field(default_factory=lambda: {"name": "adamw", "lr": 2e-3})
    """See `trainable/optim.py`."""
    scheduler: Choice = field(default_factory=lambda: {"name": "cosine"})
    """See `trainable/optim.py`."""
    augmentation: Choice = field(default_factory=lambda: {"name": "reference"})
    """See `trainable/augment.py`."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    precision: str = "auto"
    """auto (the fastest the device has), fp32, bf16 or fp16."""
    threads: int = 1
    """CPU threads of the training; more than one collapses when another trial keeps the other cores busy."""
    workers: int = 0
    """Processes that load photos beside the training; 0 loads in the training process."""

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("image_size", 32), ("batch_size", 1), ("threads", 1), ("workers", 0)):
            _check_whole(name, getattr(self, name), low)
        for name in ("seed", "fold"):
            _check_whole(name, getattr(self, name), 0)
        for name, valid in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, found {getattr(self, name)!r}")
        for name in ("architecture", "encoder", "encoder_weights"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a name, found {getattr(self, name)!r}")
        if not isinstance(self.decoder, dict):
            raise ValueError(f"decoder must be an object of arguments, found {self.decoder!r}")
        for name in ("loss", "optimizer", "scheduler", "augmentation"):
            _check_choice(name, getattr(self, name))
        lr = self.optimizer.get("lr")
        if lr is not None and not (isinstance(lr, (int, float)) and math.isfinite(lr) and lr > 0):
            raise ValueError(f"optimizer lr must be a number above 0, found {lr!r}")
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("precision fp16 needs a GPU (device is cpu); use fp32 or bf16")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "TrialConfig":
        """Make a config from a dict as `to_dict` gives it.

        Raises:
            ValueError: an unknown key, or a value out of range.
        """
        if not isinstance(content, dict):
            raise ValueError(f"a config is a json object, found a {type(content).__name__}")
        known = [f.name for f in fields(cls)]
        for key in content:
            if key not in known:
                raise ValueError(f"unknown config key {key!r}{did_you_mean(key, known)}")
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that json can hold."""
        return asdict(self)


def did_you_mean(name: str, known: list[str], shown: int = 20) -> str:
    """Return the end of an error about an unknown name: the nearest known names, or the known names where few."""
    nearest = get_close_matches(name, known, n=3, cutoff=0.5)
    if nearest:
        return f"; did you mean {' or '.join(map(repr, nearest))}?"
    more = f" and {len(known) - shown} more" if len(known) > shown else ""
    return f"; known are {', '.join(known[:shown])}{more}"


def _check_whole(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, found {value!r}")


def _check_choice(name: str, value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError(f'{name} must be like {{"name": "..."}}, found {value!r}')
