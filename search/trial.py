"""What a Ray worker runs: the adapter between Tune and `train_fold`.

The training code is imported inside the functions: PyTorch and the model library take ten CPU seconds to import, which
the driver, that only hands these functions on, need not spend.
"""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from trainable.artifacts import FAILED, RunFolder
from trainable.config import TrialConfig

if TYPE_CHECKING:
    from trainable.cache import Cache


@dataclass(frozen=True)
class TrialSetting:
    """What all trials of a run share. Paths are absolute: Tune changes the working directory."""

    run: Path
    data: Path
    cache: Path
    skip_bad: bool


def try_model(config: TrialConfig) -> str | None:
    """Return why the config's model cannot be built, or None."""
    from trainable.models import check_model

    try:
        check_model(config)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return None


def run_trial(sampled: dict[str, Any], setting: TrialSetting) -> None:
    """Train one trial and report each epoch to Tune.

    A failure is written to the trial's folder with its traceback before it reaches Tune, which ends this trial alone.
    """
    from trainable.fold import train_fold
    from trainable.folds import Folds
    from trainable.training import FoldData

    run = RunFolder(setting.run)
    folder = run.trial(sampled["number"])
    try:
        config = TrialConfig.from_dict(sampled["config"])
        data = FoldData.of(_cache(setting, config.image_size), Folds.read(run.folds), config.fold)
        train_fold(config, data, folder, lambda row: tune.report(dict(row)), resume=sampled["resume"])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        folder.write_status(FAILED, reason, traceback=traceback.format_exc())
        raise


def _cache(setting: TrialSetting, image_size: int) -> "Cache":
    from trainable.cache import build_cache, open_cache
    from trainable.coco import read_training

    if (setting.cache / "index.json").exists():
        return open_cache(setting.cache)
    # A node that has not trained yet makes its own.
    dataset = read_training(setting.data)
    return build_cache(dataset, image_size, setting.cache.parent, skip_bad=setting.skip_bad)[0]
