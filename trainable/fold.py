"""Trains one fold: the only trainable. Knows nothing of Ray.

python -m trainable.fold --config FILE --data DIR     # one training in this process
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from trainable.classes import Classes
from trainable.config import NO_FOLD, TrialConfig
from trainable.counts import all_of
from trainable.data_errors import data_notes
from trainable.dataset.cache import build_cache
from trainable.dataset.demo import find_data
from trainable.dataset.extra_photos import Extra
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.applied_config import Attestation, ConfigNotAppliedError
from trainable.engine.epoch_files import EpochWriter, writing
from trainable.engine.fold_training import DivergedError, FoldTraining, Row
from trainable.engine.halting import Halt
from trainable.engine.precision_autotune import settle
from trainable.engine.replicas import MemoryLevel, MemoryShortError, ReplicaGroup
from trainable.formats.reading import read_data
from trainable.labelled_photos import geometry_of
from trainable.machine.command import Parser, add_classes, command
from trainable.machine.device import OutOfMemoryError
from trainable.machine.terminal import open_console
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, RUNNING
from trainable.storage.atomic_write import read_json, write_json
from trainable.storage.cache_dir import default_cache_dir


def train_fold(
    config: TrialConfig,
    data: FoldData,
    folder: TrialFolder,
    report: Callable[[Row], None],
    resume: bool = False,
    *,
    until: int | None = None,
    val_mious: Sequence[float] = (),
    halt: Halt = lambda: None,
    saved: Callable[[], None] = lambda: None,
    behind: bool | None = None,
    gpus: int = 1,
) -> None:
    """Train one fold, writing its artifacts to `folder` and calling `report` with the row of each epoch.

    Args:
        config: what to train; written to the folder as applied, with `auto` resolved.
        data: the fold's photos, at the config's image size.
        folder: where config, curve, checkpoints and confusion matrices go.
        report: called once per epoch, after its state is on disk: it may end the training by raising.
        resume: go on from where the folder's training was. Its last epoch is reported once more, as it cannot be known
            whether its report was heard; the rest of the curve is then the same, on CPU to the bit.
        until: the last epoch to train, where it is not the last of the budget.
        val_mious: of each epoch, for a schedule that goes by them where no photo validates.
        halt: asked before every step why to stop now; None is to go on.
        saved: called after an epoch's files are on disk and before `report`, by the thread that has written them.
        behind: whether an epoch is written, and then reported, while the next one trains: by default on a GPU, which
            would wait; a CPU has nothing to gain.
        gpus: of this node that train together, see `trainable/engine/replicas.py`; on a CPU processes.

    Raises:
        HaltedError: `halt` gave a reason; the state is saved and `resume` goes on in the midst of the epoch.
        ValueError: the config names something unknown, or does not fit the data.
        DivergedError: a loss that is not finite.
        OutOfMemoryError: one photo at a time does not fit into the device's memory.
        ConfigNotAppliedError: the live objects differ from the config, after set-up or after the first epoch.
        ReplicaError: the process of another GPU has failed.
    """
    options = TrainingOptions(until, val_mious, halt, saved, behind, gpus)
    exhausted = _attempt(config, data, folder, report, resume, options)
    while exhausted:  # on one of several GPUs, which begin again from the last epoch with less
        exhausted = _attempt(config, data, folder, report, True, options, exhausted)


@dataclass(frozen=True)
class TrainingOptions:
    """How a training goes, beside what is trained; see `train_fold`."""

    until: int | None
    val_mious: Sequence[float]
    halt: Halt
    saved: Callable[[], None]
    behind: bool | None
    gpus: int


def _attempt(
    config: TrialConfig,
    data: FoldData,
    folder: TrialFolder,
    report: Callable[[Row], None],
    resume: bool,
    options: TrainingOptions,
    exhausted: MemoryLevel | None = None,
) -> MemoryLevel | None:
    """Train as `train_fold` does, with less memory than what was exhausted; returns what is not enough this time."""
    resume = resume and any(path.exists() for path in folder.states)
    asked = _settled_before(config, folder) if resume else config
    config = settle(asked, data.cache.path.parent)
    group = ReplicaGroup(options.gpus, config, data, folder, resume, exhausted)
    with EpochWriter() as writer, group:

        def halted() -> str | None:
            writer.deliver()
            reason = options.halt()
            if reason:
                writer.finish()  # what has been reached, before the state in the midst of the epoch after it
            return reason

        training = FoldTraining(config, data, halted, group.replica, folder if resume else None)
        behind = training.device.type == "cuda" if options.behind is None else options.behind
        folder.path.mkdir(parents=True, exist_ok=True)
        write_json(folder.path / "config.json", training.config.to_dict())
        attestation = Attestation(training, asked)
        attestation.check()
        rows = training.restore(folder) if resume else []
        if exhausted:
            training.reduce_memory(exhausted)
        if rows:
            options.saved()
            report(rows[-1])
        first = len(rows) + 1
        for epoch in range(first, (options.until or config.epochs) + 1):
            no_fold = config.fold == NO_FOLD
            earlier = list(options.val_mious[: epoch - 1]) if no_fold else [past["val_miou"] for past in rows]
            try:
                group.broadcast((epoch, earlier))
                row, validated = training.epoch(epoch, earlier, folder)
            except Exception as error:
                writer.finish()
                folder.write_notes(training.stepper.notes)
                cause = group.cause_of(error)
                if isinstance(cause, MemoryShortError):
                    return training.stepper.memory_level
                raise cause from (None if cause is error else error)
            if epoch == first:
                steps = len(training.loader)
                applied = attestation.check(epoch, (steps - 1) / steps, earlier)
                write_json(folder.applied, {"after_epoch": epoch, "found": applied})
            writer.finish()
            options.halt()  # a training that was superseded while it was frozen writes nothing more
            best = validated is None or all(row["val_miou"] > miou for miou in earlier)
            rows.append(row)
            write = writing(training, folder, rows, validated, best=best, behind=behind)
            writer.begin(partial(_in_turn, write, options.saved), partial(report, row))
            if not behind:
                writer.finish()
        group.broadcast(None)
        writer.finish()
    return None


def _in_turn(*steps: Callable[[], None]) -> None:
    for step in steps:
        step()


def _settled_before(config: TrialConfig, folder: TrialFolder) -> TrialConfig:
    """Return the config with what an `auto` became when the training began: another machine may choose otherwise."""
    before = folder.config()
    return replace(config, precision=before["precision"], memory_format=before["memory_format"])


def _parser() -> argparse.ArgumentParser:
    parser = Parser("trainable.fold", description="Train one fold of one config.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="as runs/NAME/trials/*/config.json")
    parser.add_argument("--data", type=Path, metavar="DIR", help="annotated photos (default: the demo data)")
    add_classes(parser)
    parser.add_argument("--score-size", metavar="S", help="where val_miou looks: HxW, PX or native")
    parser.add_argument("--extra", type=Path, metavar="DIR", help="more photos, which only train")
    parser.add_argument("--folds", type=Path, metavar="FILE", help="a run's folds.json (default: 5 folds dealt anew)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="trial folder to write (default runs/trial-DATE-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on from the last epoch in --out")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="decoded photos (default ~/.cache/trashsweep)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out bad photos instead of stopping")
    return parser


@command(
    _parser,
    DivergedError,
    OutOfMemoryError,
    ConfigNotAppliedError,
    interrupted="interrupted before the first epoch: nothing was lost",
)
def main(options: argparse.Namespace) -> int:
    """Train one config in this process; returns the exit status."""
    console = open_console()
    out = (options.out or Path(f"runs/trial-{datetime.now():%Y%m%d-%H%M%S}")).absolute()
    config, data = _read(options, out, console)
    return _train(config, data, TrialFolder(out), options.resume, console)


def _read(options: argparse.Namespace, out: Path, console: Console) -> tuple[TrialConfig, FoldData]:
    if out.exists() and not options.resume:
        raise ValueError(f"--out {out} exists; name another, or go on with it by --resume")
    try:
        config = TrialConfig.from_dict(read_json(options.config))
    except ValueError as error:
        raise ValueError(f"--config {options.config}: {error}") from error
    if (out / "config.json").exists():
        _check_same(config.to_dict(), read_json(out / "config.json"))
    cache_dir = options.cache_dir or default_cache_dir()
    data = find_data(options.data, cache_dir)
    dataset = read_data(data, Classes.from_file(Path(options.classes)) if options.classes else None)
    geometry = geometry_of(dataset, config.aspect, options.score_size)
    cache, skipped = build_cache(dataset, config.image_size, cache_dir, geometry=geometry, skip_bad=options.skip_bad)
    for line in data_notes(dataset.notes, skipped):
        console.print(f"note: {line}", style="yellow", highlight=False, soft_wrap=True)
    folds = Folds.read(options.folds) if options.folds else make_folds(cache, 5, config.seed)
    if options.extra is None:
        return config, FoldData.of(cache, folds, config.fold)
    extra = Extra.read(options.extra)
    extra_cache = extra.cache(
        config.fold,
        folds,
        cache,
        config.image_size,
        cache_dir,
        options.skip_bad,
        announce=lambda text: console.print(text, highlight=False, soft_wrap=True),
    )
    return config, FoldData.of(cache, folds, config.fold, extra_cache, options.skip_bad)


def _check_same(asked: dict[str, Any], stored: dict[str, Any]) -> None:
    stored = {**TrialConfig().to_dict(), **stored}  # what an earlier version did not write had the value of today
    differing = [name for name in asked if asked[name] not in ("auto", stored.get(name))]
    if differing:
        differences = ", ".join(f"{name} {stored.get(name)!r} (asked {asked[name]!r})" for name in differing)
        raise ValueError(f"--resume goes on with the same config only; the folder's has {differences}")


def _train(config: TrialConfig, data: FoldData, folder: TrialFolder, resume: bool, console: Console) -> int:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_status(RUNNING)

    def show(row: Row) -> None:
        console.print(epoch_line(row, config.epochs), highlight=False, soft_wrap=True)

    try:
        train_fold(config, data, folder, show, resume)
    except KeyboardInterrupt:
        folder.write_status(INTERRUPTED, f"after epoch {len(folder.curve())}")
        console.print(f"interrupted; {folder.path} goes on with the same command and --out {folder.path} --resume")
        return 130
    except Exception as error:
        folder.write_status(FAILED, f"{type(error).__name__}: {error}")
        raise
    rows = folder.curve()
    folder.write_status(FINISHED, all_of(config.epochs, "epoch"), epochs=len(rows))
    if config.fold != NO_FOLD:
        best = max(rows, key=lambda row: row["val_miou"])
        console.print(f"best val_miou {best['val_miou']:.4f} after epoch {best['epoch']}", highlight=False)
    console.print(f"weights and curve are in {folder.path}", highlight=False, soft_wrap=True)
    return 0


def epoch_line(row: Row, epochs: int) -> str:
    """Return an epoch's figures in one line."""
    validated = f"val loss {row['val_loss']:.4f}  val_miou {row['val_miou']:.4f}  " if "val_miou" in row else ""
    loss, speed = f"train loss {row['train_loss']:.4f}", f"{row['images_per_s']:.1f} images/s"
    return f"epoch {row['epoch']}/{epochs}  {loss}  {validated}{speed}"


if __name__ == "__main__":
    sys.exit(main())
