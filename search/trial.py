"""What a Ray worker runs: the adapter between Tune and `train_fold`.

The training code is imported inside the functions: PyTorch and the model library take ten CPU seconds to import, which
the driver, that only hands these functions on, need not spend.
"""

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from trainable.artifacts import FAILED, INVALID, OOM, RunFolder, TrialFolder
from trainable.config import TrialConfig

if TYPE_CHECKING:
    from trainable.cache import Cache
    from trainable.folds import Folds


@dataclass(frozen=True)
class TrialSetting:
    """What all trials of a run share. Paths are absolute: Tune changes the working directory."""

    run: Path
    data: Path
    caches: dict[int, Path]  # by image size
    skip_bad: bool
    extra: Path | None = None  # further photos, which train in every fold


def folder_of(run: RunFolder, sampled: dict[str, Any]) -> TrialFolder:
    """Return where a trial's artifacts go: its own folder, or that of a further fold of its config."""
    folder = run.trial(sampled["number"])
    return folder.further(sampled["further"]) if "further" in sampled else folder


def try_model(config: TrialConfig, sizes: list[int]) -> str | None:
    """Return why the config's model cannot be built at some size, its published weights included, or None."""
    from trainable.models import build_model, check_model

    try:
        for size in sizes:
            check_model(replace(config, image_size=size))
        if config.encoder_weights == "imagenet":
            build_model(config)  # downloads them now, not in the first trial
    except (ValueError, OSError) as error:
        return str(error)
    return None


def try_models(
    base: TrialConfig, models: list[list[str]], sizes: list[int], strides: dict[str, list[int]]
) -> list[dict[int, str | None]]:
    """Return, for each architecture and encoder and by output stride, why it cannot be built at some size, or None.

    Architectures without a choice of strides have the key 0.
    """
    from trainable.models import check_model

    def problem(config: TrialConfig) -> str | None:
        for size in sizes:
            try:
                check_model(replace(config, image_size=size))
            except (ValueError, FileNotFoundError) as error:
                return str(error)
        return None

    found = []
    for architecture, encoder in models:
        config = replace(base, architecture=architecture, encoder=encoder, decoder={})
        variants = {stride: {"encoder_output_stride": stride} for stride in strides.get(architecture, [])} or {0: {}}
        found.append({stride: problem(replace(config, decoder=decoder)) for stride, decoder in variants.items()})
    return found


def try_parts(configs: list[TrialConfig]) -> str | None:
    """Return why a part of some config, other than its model, cannot be built, or None."""
    import torch
    from torch import nn

    from trainable.augment import build_augmentation
    from trainable.coco import CLASSES
    from trainable.losses import ClassCounts, build_loss
    from trainable.mixing import build_mixing
    from trainable.optim import build_optimizer
    from trainable.schedules import build_schedule

    ones = torch.ones(len(CLASSES))
    toy, logits = nn.Conv2d(3, 1, 1), torch.randn(2, len(CLASSES), 8, 8)
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    try:
        for config in configs:
            build_loss(config.loss, ClassCounts(ones, ones))(logits, target)
            build_optimizer(config.optimizer, toy)
            build_schedule(config.scheduler, config.epochs)
            build_augmentation(config.augmentation, config.operations, config.image_size)
            build_mixing(config.mixing)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error)
    return None


def gpu_memory_gb() -> float:
    """Return the memory of this worker's GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9


def run_trial(sampled: dict[str, Any], setting: TrialSetting) -> None:
    """Train one trial and report each epoch to Tune.

    A failure is written to the trial's folder with its traceback before it reaches Tune, which ends this trial alone.
    """
    from trainable.attestation import ConfigNotAppliedError
    from trainable.data import FoldData
    from trainable.device import release_memory
    from trainable.fold import train_fold
    from trainable.folds import Folds
    from trainable.stepping import OutOfMemoryError, is_memory_short

    release_memory()  # of the trial that this process ran before
    run = RunFolder(setting.run)
    folder = folder_of(run, sampled)
    try:
        config = TrialConfig.from_dict(sampled["config"])
        folds = Folds.read(run.folds)
        cache, extra = _cache(setting, config.image_size), _extra(setting, config, folds)
        data = FoldData.of(cache, folds, config.fold, extra, setting.skip_bad)
        train_fold(config, data, folder, lambda row: tune.report(dict(row)), resume=sampled["resume"])
    except Exception as error:
        state, name = FAILED, f"{type(error).__name__}: "
        if isinstance(error, ConfigNotAppliedError):
            state, name = INVALID, ""
        elif isinstance(error, OutOfMemoryError) or is_memory_short(error):
            state, name = OOM, ""
        folder.write_status(state, f"{name}{error}".splitlines()[0], traceback=traceback.format_exc())
        raise


def _extra(setting: TrialSetting, config: TrialConfig, folds: "Folds") -> "Cache | None":
    from trainable.extra import Extra

    if setting.extra is None:
        return None
    cache_dir = setting.caches[config.image_size].parent
    return Extra.read(setting.extra).cache(config.fold, folds, config.image_size, cache_dir, setting.skip_bad)


def _cache(setting: TrialSetting, image_size: int) -> "Cache":
    from trainable.cache import build_cache, open_cache
    from trainable.coco import read_training

    path = setting.caches[image_size]
    if (path / "index.json").exists():
        return open_cache(path)
    # A node that has not trained yet makes its own.
    return build_cache(read_training(setting.data), image_size, path.parent, skip_bad=setting.skip_bad)[0]
