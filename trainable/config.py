"""The config of one trial: everything that decides its result, and nothing else."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trainable.encoder_families import takes_drop_path
from trainable.geometry import Shape, frame_of
from trainable.spelling import did_you_mean

Choice = dict[str, Any]
"""A named part and its parameters, as {"name": "focal", "gamma": 2.0}; what is left out has the part's default."""

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
NO_FOLD = -1
"""As `fold`: all photos train and none validates."""

LOWEST = {
    "epochs": 1, "num_classes": 2, "image_size": 32, "tile_size": 0, "batch_size": 1, "accumulation": 1,
    "threads": 1, "workers": 0, "seed": 0, "fold": NO_FOLD,
}  # fmt: skip
"""The smallest value of each whole number."""
MEMORY_FORMATS = ("auto", "channels_last", "contiguous")


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One training of one fold. Paths are not part of it: the same config gives the same trial on any machine."""

    seed: int = 0
    """Every random stream of the trial derives from it."""
    fold: int = 0
    """The fold that validates; all others train. -1: all train, none validates."""
    epochs: int = 12
    """Full budget in epochs; the learning-rate schedule spans all of it, also if the trial is stopped early."""
    image_size: int = 96
    """Pixels of a photo's longer side in training and validation."""
    aspect: float = 0.0
    """Height by width of the frame that photos are fitted into; 0 stretches them to squares."""
    tile_size: int = 0
    """Pixels per side of the crops that train and of the windows that validate; 0 takes whole photos."""
    num_classes: int = 11
    """Classes of the data."""
    batch_size: int = 8
    """Photos per optimizer step."""
    accumulation: int = 1
    """Parts a batch is split into, whose gradients add up to one step; doubled while memory is short."""
    architecture: str = "unetplusplus"
    """A segmentation_models_pytorch architecture, such as unetplusplus or deeplabv3plus."""
    encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """A segmentation_models_pytorch encoder; `tu-NAME` takes timm's NAME."""
    encoder_weights: str = "none"
    """`none`, `imagenet` (downloaded), or a folder that holds ENCODER.safetensors."""
    decoder: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the architecture, such as {"decoder_channels": [64, 32, 16, 8, 8]}."""
    drop_path: float = 0.0
    """Chance that a residual branch of the encoder is left out, of the deepest one; 0 leaves the encoder's own."""
    freeze_share: float = 0.0
    """Share of the budget, in whole epochs, in which the encoder stays as it is, its batch-norm figures included."""
    loss: Choice = field(default_factory=lambda: {"name": "cross_entropy"})
    """See `trainable/model/losses.py`."""
    optimizer: Choice = field(default_factory=lambda: {"name": "adamw", "lr": 2e-3})
    """See `trainable/model/optim.py`."""
    encoder_lr_factor: float = 1.0
    """The encoder's learning rate as a share of the optimizer's."""
    layer_decay: float = 1.0
    """Rate of each layer of the encoder as a share of the next one's, see `trainable/model/layer_rates.py`."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    ema_decay: float = 0.0
    """Per step, of the moving average of the weights that is validated and kept, see
    `trainable/model/weight_averaging.py`; 0 keeps the weights themselves, of Lookahead the slow ones."""
    scheduler: Choice = field(default_factory=lambda: {"name": "cosine"})
    """See `trainable/model/schedules.py`."""
    oversampling: Choice = field(default_factory=lambda: {"name": "none"})
    """See `trainable/pipeline/oversampling.py`."""
    augmentation: Choice = field(default_factory=lambda: {"name": "reference"})
    """The base pipeline, see `trainable/pipeline/augmentation.py`."""
    operations: list[Choice] = field(default_factory=list)
    """Single-photo operations after the base pipeline, in this order, see `trainable/pipeline/augmentation.py`."""
    mixing: list[Choice] = field(default_factory=list)
    """Operations that bring other training photos in, before the base pipeline, see `trainable/pipeline/mixing.py`."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    precision: str = "auto"
    """auto (what trains this model fastest), fp32, bf16 or fp16."""
    memory_format: str = "auto"
    """auto (what trains this model fastest), channels_last or contiguous."""
    compile: bool = False
    """Train through torch.compile; where that fails the training goes on without, and says so."""
    threads: int = 1
    """CPU threads of the training; more than one collapses when another trial keeps the other cores busy."""
    workers: int = 0
    """Processes that load photos beside the training; 0 loads in the training process."""

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            _check_whole(name, getattr(self, name), low)
        for name, valid in (("device", DEVICES), ("precision", PRECISIONS), ("memory_format", MEMORY_FORMATS)):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, found {getattr(self, name)!r}")
        for name in ("architecture", "encoder", "encoder_weights"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a name, found {getattr(self, name)!r}")
        if not isinstance(self.decoder, dict):
            raise ValueError(f"decoder must be an object of arguments, found {self.decoder!r}")
        for name in ("loss", "optimizer", "scheduler", "oversampling", "augmentation"):
            _check_choice(name, getattr(self, name))
        for name in ("operations", "mixing"):
            if not isinstance(getattr(self, name), list):
                raise ValueError(f"{name} must be a list, found {getattr(self, name)!r}")
            for choice in getattr(self, name):
                _check_choice(f"each of {name}", choice)
        if "lr" in self.optimizer:
            check_number("optimizer lr", self.optimizer["lr"], "above 0", lambda value: value > 0)
        factor = self.encoder_lr_factor
        check_number("encoder_lr_factor", factor, "above 0 and at most 1", lambda value: 0 < value <= 1)
        decay, share = self.layer_decay, self.drop_path
        check_number("layer_decay", decay, "above 0 and at most 1", lambda value: 0 < value <= 1)
        check_number("drop_path", share, "0 to below 1", lambda value: 0 <= value < 1)
        if share and not takes_drop_path(self.encoder):
            raise ValueError(f"drop_path is for timm's transformers, not for encoder {self.encoder}; leave it at 0")
        check_number("aspect", self.aspect, "0, or 0.05 to 20", lambda value: value == 0 or 0.05 <= value <= 20)
        if self.tile_size and (self.tile_size < 32 or self.tile_size > max(self.frame)):
            raise ValueError(
                f"tile_size must be 32 to the longer side of the photos in training, {max(self.frame)} px, or 0 for "
                f"whole photos; found {self.tile_size}"
            )
        check_number("clip_norm", self.clip_norm, "at least 0", lambda value: value >= 0)
        check_number("ema_decay", self.ema_decay, "0 to below 1", lambda value: 0 <= value < 1)
        if not isinstance(self.compile, bool):
            raise ValueError(f"compile must be true or false, found {self.compile!r}")
        if self.accumulation > self.batch_size:
            raise ValueError(f"accumulation must be at most batch_size {self.batch_size}, found {self.accumulation}")
        share = self.freeze_share
        check_number("freeze_share", share, "0 to below 1, a share of the budget", lambda value: 0 <= value < 1)
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("precision fp16 needs a GPU (device is cpu); use fp32 or bf16")

    @property
    def frame(self) -> Shape:
        """The height and width in pixels at which photos are kept."""
        return frame_of(self.image_size, self.aspect)

    @property
    def input_shape(self) -> Shape:
        """The height and width in pixels of what the network trains on."""
        return (self.tile_size, self.tile_size) if self.tile_size else self.frame

    @property
    def freeze_epochs(self) -> int:
        """The number of epochs in which the encoder stays as it is."""
        return round(self.freeze_share * self.epochs)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "TrialConfig":
        """Make a config from a dict as `to_dict` gives it.

        Raises:
            ValueError: an unknown key, or a value out of range.
        """
        if not isinstance(content, dict):
            raise ValueError(f"a config is a json object, found a {type(content).__name__}")
        keys = [f.name for f in fields(cls)]
        for key in content:
            if key not in keys:
                raise ValueError(f"unknown config key {key!r}{did_you_mean(key, keys)}")
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that json can hold."""
        return asdict(self)


def _check_whole(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, found {value!r}")


def check_number(name: str, value: Any, rule: str, holds: Callable[[float], bool]) -> None:
    """Check that a value is a finite number and keeps a rule.

    Raises:
        ValueError: it is none, or does not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not holds(value):
        raise ValueError(f"{name} must be a number {rule}, found {value!r}")


def _check_choice(name: str, value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError(f'{name} must be like {{"name": "..."}}, found {value!r}')
