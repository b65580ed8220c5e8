"""What a search will do, resolved from the command line, the device and the data; stored in search.json."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.optimizers import FREEZE_SHARES
from spaces.parts import Scope
from spaces.table import NONE, find_space, unknown_functions
from trainable.classes import COMPETITION, Classes
from trainable.config import TrialConfig
from trainable.counts import counted
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, shape_text
from trainable.storage.remote import is_uri

DEFAULT_SPACE = "losses"

FORECAST, ASHA, NO_STOPPING = STOPPERS = "forecast", "asha", "none"
"""What decides that a trial does not go on: see `search/tuning/freeze_thaw.py`, Ray's ASHA, or nothing."""

GIVEN_FOLDS = "given"
"""As --folds: the data says which photos train and which validate. The plan then counts one fold."""

FOLDS = 5
"""Parts of the cross-validation where --folds does not say otherwise."""

REDUCTION = 3
"""ASHA keeps the best 1/REDUCTION at each rung where --reduction does not say otherwise."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides a search's course but the machine it runs on."""

    space: str
    data: str | None  # absolute; None is the demo data
    cache_dir: str  # absolute
    skip_bad: bool
    trials: int
    grace: int  # epochs
    reduction: int
    folds: int
    base: dict[str, Any]  # the TrialConfig of what the space leaves out
    image_sizes: list[int]  # pixels of the longer side that the space may choose from, the base's first
    models: list[list[str]]  # architecture and encoder of each model that the space may choose; [] if it does not
    strides: dict[str, list[int]]  # output strides that it may choose, by architecture
    extra: str | None = None  # absolute; further photos, which train in every fold
    stopper: str = ASHA  # one of STOPPERS
    keep_gb: float | None = None  # of checkpoints of the whole run; None keeps all
    pretrained: bool = True  # whether the encoders begin with weights; what was not recorded once was sampled as if
    freeze_shares: list[float] = field(default_factory=lambda: list(FREEZE_SHARES))  # of the budget, to choose from
    start: int = 0  # the first trial of the space: those before it were drawn before the run was extended
    given: dict[str, dict[str, Any]] = field(default_factory=dict)  # configs of the space `given`, by their origin
    by_kind: bool = False  # whether transformers have ranges of their own; runs of before draw all from one
    gpu: bool = False  # whether it was planned for GPUs: its first trials are then recipes that won in public
    batch_sizes: list[int] = field(default_factory=list)  # photos per step to choose from; [] leaves the base's
    tile_sizes: list[int] = field(default_factory=list)  # pixels per side of crops to choose from; [] leaves the base's
    class_table: dict[str, Any] = field(default_factory=COMPETITION.to_dict)  # the classes of the data
    geometry: dict[str, Any] = field(default_factory=COMPETITION_GEOMETRY.to_dict)  # the frames of the photos

    @property
    def scope(self) -> Scope:
        """What the space can choose from."""
        models = tuple((architecture, encoder) for architecture, encoder in self.models)
        strides = {architecture: tuple(allowed) for architecture, allowed in self.strides.items()}
        return Scope(
            models,
            strides,
            tuple(self.image_sizes),
            self.pretrained,
            tuple(self.freeze_shares),
            self.config.epochs,
            tuple(self.given.items()),
            self.config.encoder,
            self.by_kind,
            self.gpu,
            tuple(self.batch_sizes),
            tuple(self.tile_sizes),
            bool(self.classes.mirror),
            self.classes.background,
        )

    @property
    def classes(self) -> Classes:
        """The classes of the data."""
        return Classes.from_dict(self.class_table)

    @property
    def frames(self) -> Geometry:
        """How photos lie in the frames of networks and of the score."""
        return Geometry.from_dict(self.geometry)

    @property
    def config(self) -> TrialConfig:
        """The config of a trial for which the space decides nothing."""
        return TrialConfig.from_dict(self.base)

    def given_configs(self) -> list[TrialConfig]:
        """Return the configs of the trials, where they are given."""
        return [TrialConfig.from_dict({**self.base, **parts}) for parts in self.given.values()]

    def describe(self, name: str) -> str:
        """Return what the run does, in two lines."""
        config = self.config
        model = f"{config.architecture} + {config.encoder}"
        if self.models:
            encoders = {encoder for _, encoder in self.models}
            model = f"{counted(len(self.models), 'model')} of {counted(len(encoders), 'encoder')}"
        elif self.given:
            model = f"configs {', '.join(self.given)}"
        stopping = {
            FORECAST: "each epoch goes to the trial with the best chance to end in front",
            ASHA: f"ASHA may stop one from epoch {self.grace} on",
            NO_STOPPING: "none is stopped",
        }
        return (
            f"run {name}: space {self.space}, {counted(self.trials, 'trial')} of at most "
            f"{counted(config.epochs, 'epoch')}; {stopping[self.stopper]}\n"
            f"{model} (weights: {config.encoder_weights}), {self.describe_sizes()}, {self.describe_fold()}"
        )

    def describe_sizes(self) -> str:
        """Return at which sizes photos train, in words."""
        sizes = " or ".join(shape_text(self.frames.frame(size)) for size in self.image_sizes)
        tiles = self.tile_sizes or [self.config.tile_size]
        return f"{sizes} px" + (f" in crops of {' or '.join(map(str, tiles))} px" if any(tiles) else "")

    def describe_fold(self) -> str:
        """Return on which photos trials validate, in words."""
        return f"fold {self.config.fold} of {self.folds}" if self.folds > 1 else "validated on the data's own split"


def place(given: str | Path) -> str:
    """Return a URI as it is and a path absolute."""
    return str(given) if is_uri(given) else str(Path(given).resolve())


def weights_place(given: str) -> str:
    """Return `none` and `imagenet` as they are and a folder of encoder weights absolute."""
    return given if given in ("none", "imagenet") else str(Path(given).resolve())


def default_grace(epochs: int) -> int:
    """Return the epochs before which ASHA stops no trial, where --grace does not say otherwise."""
    return min(max(epochs // 4, 1), 10)


def check_plan(plan: Plan) -> None:
    """Check what only the whole plan shows.

    Raises:
        ValueError: a value out of range, or a space without a choice.
    """
    if not unknown_functions(plan.space):  # those who only read the run need none of them
        find_space(plan.space, plan.scope)
    for name, value, low in (("trials", plan.trials, 1), ("reduction", plan.reduction, 2), ("folds", plan.folds, 1)):
        if value < low:
            raise ValueError(f"--{name} must be at least {low}, found {value}")
    if plan.keep_gb is not None and not plan.keep_gb > 0:
        raise ValueError(f"--keep-gb is disk space in GB, above 0, found {plan.keep_gb:g}")
    if plan.space == NONE and plan.trials > 1:
        raise ValueError(f"space {NONE} has one config, so one trial, found --trials {plan.trials}; leave it out")
    if not 1 <= plan.grace <= plan.config.epochs:
        raise ValueError(
            f"--grace must be 1 to the {counted(plan.config.epochs, 'epoch')} of the budget, found {plan.grace}"
        )
    if not 0 <= plan.config.fold < plan.folds:
        raise ValueError(f"--fold must be 0 to {plan.folds - 1} with --folds {plan.folds}, found {plan.config.fold}")
