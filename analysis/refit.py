"""Trains the best config on the photos of all folds: python analysis/refit.py --run runs/NAME.

The final model has no photo left to validate on, so the cross-validation decides on its epochs
(`analysis/results/epoch_selection.py`). The schedule still spans the full budget: the training takes the way that the
folds' trainings took, and ends where they were best. Where the best trial was stopped early, that is within the epochs
that it trained.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from analysis.pool.run_data import labelled_cache
from analysis.results.epoch_selection import Chosen, choose
from trainable.config import NO_FOLD, TrialConfig
from trainable.counts import counted
from trainable.dataset.extra_photos import Extra
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.engine.applied_config import ConfigNotAppliedError
from trainable.engine.fold_training import DivergedError
from trainable.fold import epoch_line, train_fold
from trainable.machine.called_as import command_line
from trainable.machine.command import Parser, command
from trainable.machine.device import OutOfMemoryError
from trainable.machine.terminal import open_console
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, RUNNING
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import NewerFormatError, object_rule, read_record
from trainable.storage.remote import push_back, run_option

FORMAT = 1


@dataclass(frozen=True)
class Refit:
    """What is trained: the content of refit.json."""

    trial: int  # whose config it is
    folds: list[int]  # on which the epochs were chosen
    val_miou: list[float]  # mean over the folds, by epoch; of a trial that was stopped, as far as it came
    smoothed: list[float]
    epochs: int  # of the training; the schedule spans the config's
    why: str
    extra: str | None  # folder of further photos
    extra_hash: str | None
    format: int = FORMAT

    @classmethod
    def of(cls, chosen: Chosen, extra: Extra | None) -> "Refit":
        """Take what the cross-validation chose."""
        folder, hash_ = (str(extra.root), extra.hash) if extra else (None, None)
        curve, smoothed = list(chosen.curve), list(chosen.smoothed)
        return cls(chosen.trial.number, list(chosen.folds), curve, smoothed, chosen.epochs, chosen.why, folder, hash_)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/refit.py", description="Train the best config on all folds' photos.")
    parser.add_argument("--run", type=run_option, required=True, metavar="DIR", help="run folder, such as runs/NAME")
    parser.add_argument(
        "--trial", type=int, metavar="N", help="whose config (default: the leader of the finalists, else of all)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the run's photos, where they have moved")
    parser.add_argument("--extra", type=Path, metavar="DIR", help="more photos (default: those of the run)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    return parser


@command(
    _parser, DivergedError, OutOfMemoryError, ConfigNotAppliedError, interrupted="interrupted before the first epoch"
)
def main(options: argparse.Namespace) -> int:
    """Train the final model; returns the exit status."""
    console = open_console()
    run = RunFolder.open(options.run)
    refit = find_refit(run, options.trial, options.extra, options.resume)
    config, data = _read(run, refit, options.data)
    write_refit(run, refit)
    ended = _train(run, refit, config, data, options, console)
    push_back(run.path, "refit")
    return ended


def find_refit(run: RunFolder, trial: int | None, extra: Path | None, resume: bool) -> Refit:
    """Choose what to train, or find what an interrupted training began with.

    Raises:
        ValueError: a training that is there already, or none to go on with or another one; nothing to
            choose from; further photos that have changed.
    """
    begun = run.refit.path / "refit.json"
    if begun.exists() and not resume:
        raise ValueError(f"{run.refit.path} exists; go on with it by --resume, or move it away")
    if not begun.exists():
        if resume:
            raise ValueError(f"{run.refit.path} has no training to go on with; leave --resume out")
        asked = extra or run.record().extra
        return Refit.of(choose(run, trial), Extra.read(Path(asked)) if asked else None)
    try:
        refit = Refit(**read_record(begun, object_rule, FORMAT))
    except NewerFormatError:
        raise
    except (TypeError, ValueError) as error:
        raise ValueError(f"{begun} is damaged ({error}); move {run.refit.path} away and begin anew") from error
    if trial not in (None, refit.trial):
        raise ValueError(f"--resume goes on with trial {refit.trial}'s config, found --trial {trial}; leave it out")
    if extra or refit.extra:
        labels = Extra.read(extra or Path(str(refit.extra)))
        if labels.hash != refit.extra_hash:
            raise ValueError(
                f"the labels in {labels.root} are not those that {run.refit.path} began with; restore them, or move it "
                "away and begin anew"
            )
        return replace(refit, extra=str(labels.root))
    return refit


def write_refit(run: RunFolder, refit: Refit) -> None:
    """Write refit.json."""
    run.refit.path.mkdir(exist_ok=True)
    write_json(run.refit.path / "refit.json", refit.__dict__)


def describe(run: RunFolder, refit: Refit, budget: int) -> list[str]:
    """Return in sentences how many epochs of a budget are trained, and why."""
    trained, value = len(refit.val_miou), f"{refit.smoothed[refit.epochs - 1]:.4f} with its neighbours"
    if trained == budget:
        return [
            f"{refit.epochs} of {counted(budget, 'epoch')}: the mean val_miou over the folds is best there, {value}"
        ]
    rising = "it was still rising, and " if refit.epochs == trained else ""
    include = ("--top", "0", "--include", str(refit.trial))
    confirm = command_line("search/run.py", "--confirm", run.path.name, *include)
    return [
        f"{refit.epochs} of {counted(budget, 'epoch')}: val_miou is best there of the {trained} that the trial "
        f"trained, {value}",
        f"{rising}what comes after epoch {trained} is not known: {confirm} trains it to its end on the run's folds",
    ]


def config_on_all(folder: TrialFolder) -> TrialConfig:
    """Return a trial's config for a training on all photos, on a device that this machine has."""
    config = replace(TrialConfig.from_dict(folder.config()), fold=NO_FOLD)
    if config.device == "cuda" and not torch.cuda.is_available():
        return replace(config, device="auto", precision="auto", memory_format="auto")
    return config


def _read(run: RunFolder, refit: Refit, data: Path | None) -> tuple[TrialConfig, FoldData]:
    config, folds = config_on_all(run.trial(refit.trial)), Folds.read(run.folds)
    if config.encoder_weights not in ("none", "imagenet"):  # they may have moved since the trial began
        base = run.record().base
        config = replace(config, encoder_weights=base.get("encoder_weights", config.encoder_weights))
    cache = labelled_cache(run, config.image_size, data)
    if refit.extra is None:
        return config, FoldData.of(cache, folds, NO_FOLD)
    search = run.record()
    further = Extra.read(Path(refit.extra))
    extra = further.cache(NO_FOLD, folds, cache, config.image_size, search.cache_dir, search.skip_bad)
    return config, FoldData.of(cache, folds, NO_FOLD, extra, search.skip_bad)


def _train(
    run: RunFolder, refit: Refit, config: TrialConfig, data: FoldData, options: argparse.Namespace, console: Console
) -> int:
    def say(message: str) -> None:
        console.print(message, highlight=False, soft_wrap=True)

    folder = run.refit
    say(f"trial {refit.trial} on all {len(data.train)} photos: {refit.why}")
    for line in describe(run, refit, config.epochs):
        say(line)
    folder.write_status(RUNNING)
    try:
        train_fold(
            config,
            data,
            folder,
            lambda row: say(epoch_line(row, refit.epochs)),
            options.resume,
            until=refit.epochs,
            val_mious=refit.val_miou,
        )
    except KeyboardInterrupt:
        folder.write_status(INTERRUPTED, f"after epoch {len(folder.curve())}")
        say(f"interrupted after epoch {len(folder.curve())}; go on with\n  {_again(options)}")
        return 130
    except Exception as error:
        folder.write_status(FAILED, f"{type(error).__name__}: {error}")
        raise
    folder.write_status(FINISHED, counted(refit.epochs, "epoch"), epochs=refit.epochs)
    say(f"the final model's weights and config are in {folder.path}")
    return 0


def _again(options: argparse.Namespace) -> str:
    command = ["--run", str(options.run), "--resume"]
    for name in ("data", "extra"):
        if getattr(options, name):
            command += [f"--{name}", str(getattr(options, name))]
    return command_line("analysis/refit.py", *command)


if __name__ == "__main__":
    sys.exit(main())
