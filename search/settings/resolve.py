"""The plan of a new search: what was asked for, and what fits the machine and the data where nothing was."""

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from search.settings.allocation import TEST_ENCODER, Machine, default_options
from search.settings.plan import (
    ASHA,
    DEFAULT_SPACE,
    FOLDS,
    FORECAST,
    GIVEN_FOLDS,
    REDUCTION,
    Plan,
    check_plan,
    default_grace,
    place,
    weights_place,
)
from search.settings.settings import Settings, given_or
from spaces.encoders import STRIDES, group_for, pairs
from spaces.optimizers import freeze_shares
from spaces.table import NONE, space_names
from trainable.classes import COMPETITION
from trainable.config import TrialConfig
from trainable.encoder_families import licence
from trainable.geometry import Geometry, parsed_shape
from trainable.labelled_photos import Dataset, geometry_of
from trainable.storage.atomic_write import read_json
from trainable.storage.cache_dir import default_cache_dir

SMOKE = {"trials": 4, "epochs": 4, "image_size": 64}


def new_plan(settings: Settings, machine: Machine, dataset: Dataset | None = None) -> Plan:
    """Resolve the settings of a new run; whether the model can be built is left to a worker to try.

    Args:
        settings: as given.
        machine: to search on.
        dataset: the photos as read; without them they count as the competition's.

    Raises:
        ValueError: a value out of range.
    """
    if settings.promoted:
        return settings.promoted.plan
    base = _base(settings)
    figures = list(settings.given(("grace", "reduction")))
    if figures and given_or(settings.stopper, ASHA) != ASHA:
        other = f"found --stopper {settings.stopper}"
        raise ValueError(f"--{figures[0]} belongs to --stopper {ASHA}, {other}; leave one of them out")
    classes = dataset.classes if dataset else COMPETITION
    geometry = _geometry(settings, dataset)
    chosen = _chosen(settings, machine, base, {"aspect": geometry.aspect, "num_classes": len(classes)})
    config_fields = {field.name for field in fields(TrialConfig)}
    config = TrialConfig.from_dict({name: value for name, value in chosen.items() if name in config_fields})
    if config.precision == "fp16" and not machine.gpus:
        raise ValueError("precision fp16 needs a GPU and this machine has none; use auto, fp32 or bf16")
    _check_batch(settings, config.batch_size)
    space = given_or(settings.space, DEFAULT_SPACE)
    names = space_names(space)
    tiles = tile_sizes(config, names)
    models = pairs(settings.encoders or group_for(machine.gpu_memory_gb))
    plan = Plan(
        space=space,
        data=None if settings.data is None else place(settings.data),
        cache_dir=str((settings.cache_dir or default_cache_dir()).absolute()),
        skip_bad=settings.skip_bad,
        trials=chosen["trials"],
        grace=given_or(settings.grace, default_grace(config.epochs)),
        reduction=given_or(settings.reduction, REDUCTION),
        folds=fold_count(settings),
        base=config.to_dict(),
        image_sizes=sizes_above(tiles, config, image_sizes(config.image_size, names, gpu=machine.gpus > 0)),
        models=[list(pair) for pair in models] if "encoders" in names else [],
        strides={architecture: list(strides) for architecture, strides in STRIDES.items()},
        pretrained=config.encoder_weights != "none",
        freeze_shares=list(freeze_shares(config.epochs)),
        extra=None if settings.extra is None else place(settings.extra),
        keep_gb=settings.keep_gb,
        # Who chooses ASHA's figures wants ASHA.
        stopper=given_or(settings.stopper, ASHA if figures else FORECAST),
        by_kind=True,
        gpu=machine.gpus > 0,
        batch_sizes=[] if "batch_size" in base else _batch_sizes(settings, config, machine, names),
        tile_sizes=tiles,
        class_table=classes.to_dict(),
        geometry=geometry.to_dict(),
    )
    check_plan(plan)
    return plan


def _chosen(settings: Settings, machine: Machine, base: dict[str, Any], of_data: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for, else what --base says, else what fits the machine; the data decides on the rest."""
    defaults = default_options(machine, settings.data is None, settings.gpus_per_trial)
    if settings.architecture or settings.encoder or {"architecture", "encoder"} & base.keys():
        defaults["decoder"] = {}  # the narrow decoder is for the small default encoder
    if settings.smoke:
        defaults |= SMOKE
    if settings.space == NONE:
        defaults["trials"] = 1
    chosen = {**defaults, **base, **settings.given(), **of_data}
    if isinstance(settings.image_size, str):
        chosen["image_size"] = max(parsed_shape(settings.image_size, "--image-size"))
    chosen["encoder_weights"] = weights_place(chosen["encoder_weights"])
    return chosen


def fold_count(settings: Settings) -> int:
    """Return the folds of a new run: one where the data says which photos validate.

    Raises:
        ValueError: there are fewer than two otherwise.
    """
    if isinstance(settings.folds, str):
        return 1
    if settings.folds is not None and settings.folds < 2:
        raise ValueError(f"--folds must be at least 2, found {settings.folds}; or {GIVEN_FOLDS}: the data's own split")
    return given_or(settings.folds, FOLDS)


def _geometry(settings: Settings, dataset: Dataset | None) -> Geometry:
    """Return the frames of photos in a new run; what is not read yet counts as the competition's."""
    aspect = None
    if isinstance(settings.image_size, str):
        height, width = parsed_shape(settings.image_size, "--image-size")
        aspect = round(height / width, 4)
    return geometry_of(dataset or Dataset(Path(), (), (), ""), aspect, settings.score_size)


def tile_sizes(config: TrialConfig, names: Iterable[str]) -> list[int]:
    """Return the sizes of crops that a search chooses from, its own first: a quarter below and above it."""
    if "augmentations" not in names or not config.tile_size:
        return []
    around = {max(round(config.tile_size * factor / 32), 1) * 32 for factor in (0.75, 1.25)} - {config.tile_size}
    return [config.tile_size, *sorted(size for size in around if size <= max(config.frame))]


def sizes_above(tiles: Iterable[int], config: TrialConfig, sizes: Iterable[int]) -> list[int]:
    """Return the image sizes whose photos are no smaller than any of the crops that a search takes of them."""
    least = max([*tiles, config.tile_size])
    return [size for size in sizes if max(replace(config, tile_size=0, image_size=size).frame) >= least]


def _check_batch(settings: Settings, batch_size: int) -> None:
    """See that a trial's GPUs can share its batches evenly."""
    gpus = settings.gpus_per_trial
    if isinstance(gpus, float) and gpus > 1 and batch_size % gpus:
        raise ValueError(
            f"--gpus-per-trial {gpus:g} splits each batch evenly, and the batch size is {batch_size}: choose a "
            "multiple by --batch-size"
        )


def _base(settings: Settings) -> dict[str, Any]:
    """Return the config that --base names."""
    if settings.base is None:
        return {}
    try:
        content = read_json(settings.base)
        TrialConfig.from_dict(content)
    except (ValueError, OSError) as error:
        raise ValueError(f"--base {settings.base}: {error}") from error
    if content.get("device", "auto") != "auto":  # as applied on the machine that trained it
        content |= {"device": "auto", "precision": "auto", "memory_format": "auto"}
        content.pop("workers", None)
    return content


def image_sizes(size: int, names: Iterable[str], gpu: bool = False) -> list[int]:
    """Return the run's image size and, where spaces choose one, the multiples of 32 a quarter below and above it.

    On a GPU half above it too: 384 to 768 around 512 px.
    """
    if "augmentations" not in names:
        return [size]
    factors = (0.75, 1.25, 1.5) if gpu else (0.75, 1.25)
    around = {max(round(size * factor / 32), 1) * 32 for factor in factors} - {size}
    return [size, *sorted(around)]


def _batch_sizes(settings: Settings, config: TrialConfig, machine: Machine, names: Iterable[str]) -> list[int]:
    """Return the batch sizes that a search on GPUs chooses from, its own first; a trial's GPUs share each evenly."""
    if not machine.gpus or "optimizers" not in names or settings.batch_size is not None:
        return []
    gpus = settings.gpus_per_trial if isinstance(settings.gpus_per_trial, float) else 1.0
    around = {max(config.batch_size // 2, 2), 2 * config.batch_size} - {config.batch_size}
    return [config.batch_size, *sorted(size for size in around if gpus <= 1 or not size % gpus)]


def network_note(plan: Plan) -> str:
    """Return a warning where real photos are trained with the test network; empty where they are not."""
    if plan.data is None or plan.models or plan.given or plan.config.encoder != TEST_ENCODER:
        return ""
    return (
        f"note: {TEST_ENCODER} is a network for trying things out; for real results name another one, such as "
        "--encoder mobilenet_v2 --encoder-weights imagenet, or let a space choose it: --space joint"
    )


def licence_note(plan: Plan) -> str:
    """Return the terms of the weights that a search trains from; empty where all of them are free."""
    if plan.config.encoder_weights == "none":
        return ""
    encoders = sorted({encoder for _, encoder in plan.models} or {plan.config.encoder})
    terms = [f"{encoder} ({licence(encoder)})" for encoder in encoders if licence(encoder)]
    return f"note: weights that are not free for every use: {', '.join(terms)}" if terms else ""


def is_default(plan: Plan, machine: Machine) -> bool:
    """Tell whether the plan is the default search on the machine's default model: the tests have checked it."""
    if plan.space != DEFAULT_SPACE or plan.config.encoder_weights == "imagenet":
        return False
    ignored = ("seed", "fold", "epochs", "batch_size", "workers")
    default = TrialConfig(
        **{name: value for name, value in default_options(machine, plan.data is None).items() if name != "trials"}
    ).to_dict()
    return all(value == default[name] for name, value in plan.base.items() if name not in ignored)
