"""What a Ray worker runs: the adapter between Tune and `train_fold`.

The training code is imported inside the functions: PyTorch and the model library take ten CPU seconds to import, which
the driver, that only hands these functions on, need not spend.
"""

import gc
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.trainable import wrap_function

from search.ending.preemption import Halting, listen
from search.worker.gpu_memory_model import CONTEXT_MB
from search.worker.lease import Claim, SupersededError
from search.worker.messages import Assignment, Broken, Epoch, Excused, Halted, Placed
from search.worker.remote_trial import WorkerCopy
from trainable.classes import COMPETITION, METRIC, Classes
from trainable.config import TrialConfig
from trainable.engine.halting import HaltedError
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, FAILED, INVALID, OOM
from trainable.storage.checksums import Manifest
from trainable.storage.disk_full import sleep_for_room, wait_for_room

if TYPE_CHECKING:
    from trainable.dataset.cache import Cache
    from trainable.dataset.fold_data import FoldData
    from trainable.dataset.folds import Folds

LAST_MOMENTS_S = 150
"""Seconds that a worker stays, its state saved, on a node that goes away: AWS gives two minutes."""


@dataclass(frozen=True)
class TrialSetting:
    """What all trials of a run share. Paths are absolute: Tune changes the working directory."""

    run: Path
    data: str | None  # a path, or a URI that each node copies; None is the demo data
    caches: dict[int, Path]  # by image size
    skip_bad: bool
    extra: str | None = None  # further photos, which train in every fold
    uri: str | None = None  # of the run, where that is no path
    classes: Classes = COMPETITION  # of the data
    geometry: Geometry = COMPETITION_GEOMETRY  # of the photos
    gpus: float = 0.0  # that each trial gets, where what was sampled does not say so itself


def trainable(function: Callable[..., None], setting: TrialSetting) -> type:
    """Return what Tune runs: `function(sent, setting)` in a process that SIGTERM halts."""
    wrapped = wrap_function(tune.with_parameters(function, setting=setting))

    class HaltedBySignal(wrapped):  # type: ignore[valid-type, misc]
        def setup(self, *args: Any, **kwargs: Any) -> None:
            listen()  # here, as only a process's main thread may
            super().setup(*args, **kwargs)

    return HaltedBySignal


def run_trial(sent: dict[str, Any], setting: TrialSetting) -> None:
    """Train one trial and report each epoch to Tune, going on from whatever state its folder holds.

    What would fail again is reported with its reason and ends the trial; anything else is raised: Tune then starts the
    trial once more.
    """
    try:
        Attempt(Assignment.read(sent), setting).carry_out()
    except OSError as error:
        tune.report(Excused(f"{type(error).__name__}: {_first_line(str(error))}").sent())
        raise


class Attempt:
    """A worker's attempt at what it was handed out."""

    def __init__(self, assignment: Assignment, setting: TrialSetting):
        self.assignment, self.setting = assignment, setting
        self.run = RunFolder(setting.run)
        self.folder = assignment.folder(self.run)
        self.facts: dict[str, Any] = {}  # sizes and checksums of the files of the last epoch that was saved
        self.copy = WorkerCopy(self.run, self.folder, setting.uri) if setting.uri else None
        """Of the trial's folder, where the run is at a URI."""

    def carry_out(self) -> None:
        """Train, as far as nobody says stop, and tell the driver each epoch and how it ends.

        Raises:
            Exception: what another attempt may get over.
        """
        wait_for_room(sleep_for_room)
        if self.copy:
            self.copy.bring()
        if self.folder.status().state in BROKEN or self.folder.waits:
            return  # the driver has given it up, or put it aside
        self.manifest, self.claim = Manifest(self.folder.path), Claim(self.folder)
        if self.copy:
            self.copy.fetch()
        stop_requested = self.copy.stop_requested if self.copy else self.run.stop_requested
        if self.assignment.gpus is not None:
            tune.report(Placed(placed_on()).sent())
        with Halting(stop_requested) as self.halting:
            try:
                train(self.assignment, self.setting, self.report, self.halt, self.saved)
            except HaltedError as error:
                self._tell_halted(str(error))
                raise
            except Exception as error:
                if (end := end_of(error)) is None:
                    raise
                if self.copy:
                    self.copy.send()
                tune.report(Broken(*end, traceback.format_exc(), self.manifest.facts()).sent())

    def saved(self) -> None:
        """Take the checksums of an epoch's files, and send them where the run is at a URI.

        Raises:
            SupersededError: another node trains the trial meanwhile.
        """
        self.facts = self.manifest.facts()
        if self.copy:
            if not self.copy.owned():
                raise SupersededError(f"{self.folder.path} is trained on another node")
            self.copy.send()

    def report(self, row: dict[str, Any]) -> None:
        """Tell of an epoch whose state is saved.

        Raises:
            FloatingPointError: its value is no number to go by.
        """
        if not math.isfinite(row.get(METRIC, math.nan)):
            raise FloatingPointError(f"epoch {row.get('epoch')} has {METRIC} {row.get(METRIC)}, no finite number")
        tune.report(Epoch(row, self.facts).sent())

    def halt(self) -> str | None:
        """Return why to stop now, or None.

        Raises:
            SupersededError: another process trains the trial meanwhile.
        """
        self.claim.check()
        return self.halting()

    def _tell_halted(self, reason: str) -> None:
        deadline = time.monotonic() + (0 if self.halting.transient else LAST_MOMENTS_S)
        if self.copy:
            self.copy.send()
        tune.report(Halted(reason).sent())
        while time.monotonic() < deadline:  # to be ended with node or search, not to be tried here again
            time.sleep(0.5)
            tune.report(Halted(reason).sent())  # returns no more when Tune ends the trial


def train(
    assignment: Assignment,
    setting: TrialSetting,
    report: Callable[[dict[str, Any]], None],
    halt: Callable[[], str | None],
    saved: Callable[[], None],
) -> None:
    """Train what was handed out; see `train_fold`."""
    _import_training()
    from trainable.fold import train_fold
    from trainable.machine.device import limit_memory, release_memory

    release_memory()  # of the trial that this process ran before
    limit_memory(setting.gpus if assignment.gpus is None else assignment.gpus, CONTEXT_MB)
    config = TrialConfig.from_dict(assignment.config)
    folder = assignment.folder(RunFolder(setting.run))
    train_fold(
        config,
        fold_data(config, setting),
        folder,
        lambda row: report(dict(row)),
        resume=True,
        halt=halt,
        saved=saved,
        gpus=max(int(setting.gpus), 1),
    )


def placed_on() -> str:
    """Return which GPU this worker has a share of: its node, and its number there."""
    context = ray.get_runtime_context()
    return f"{context.get_node_id()} {' '.join(context.get_accelerator_ids().get('GPU', []))}"


@cache
def _import_training() -> None:
    """Import what trainings need, and spare its modules the search for garbage after each of them."""
    import trainable.fold  # noqa: F401

    gc.freeze()


def fold_data(config: TrialConfig, setting: TrialSetting) -> "FoldData":
    """Return the photos that a config trains and validates on."""
    from trainable.dataset.fold_data import FoldData
    from trainable.dataset.folds import Folds

    folds = Folds.read(RunFolder(setting.run).folds)
    cache = _cache(setting, config.image_size)
    extra = _extra(setting, config, folds, cache)
    return FoldData.of(cache, folds, config.fold, extra, setting.skip_bad)


def end_of(error: Exception) -> tuple[str, str] | None:
    """Return state and reason of a trial that ended with an error, or None if another attempt may succeed.

    The same config on the same photos with the same seeds fails again, unless the machine was to blame: its disk,
    its network, its GPU, a process of another GPU, or that the process was to go.
    """
    from torch import AcceleratorError

    from trainable.engine.applied_config import ConfigNotAppliedError
    from trainable.engine.replicas import ReplicaError
    from trainable.machine.device import OutOfMemoryError, is_memory_short

    if isinstance(error, OutOfMemoryError) or is_memory_short(error):
        return OOM, _first_line(str(error))
    if isinstance(error, OSError | AcceleratorError | HaltedError | SupersededError | ReplicaError):
        return None
    if isinstance(error, ConfigNotAppliedError):
        return INVALID, _first_line(str(error))
    return FAILED, _first_line(f"{type(error).__name__}: {error}")


def _first_line(message: str) -> str:
    return message.splitlines()[0] if message else "no reason given"


def _extra(setting: TrialSetting, config: TrialConfig, folds: "Folds", labelled: "Cache") -> "Cache | None":
    from trainable.dataset.extra_photos import Extra
    from trainable.storage.remote_data import local_data

    if setting.extra is None:
        return None
    cache_dir = setting.caches[config.image_size].parent
    extra = Extra.read(local_data(setting.extra, cache_dir))
    return extra.cache(config.fold, folds, labelled, config.image_size, cache_dir, setting.skip_bad)


def _cache(setting: TrialSetting, image_size: int) -> "Cache":
    from trainable.dataset.cache import build_cache, open_cache
    from trainable.dataset.demo import find_data
    from trainable.formats.reading import read_data
    from trainable.storage.remote_data import local_data

    path = setting.caches[image_size]
    if (path / "index.json").exists():
        return open_cache(path)
    # A node that has not trained yet makes its own.
    folder = find_data(local_data(setting.data, path.parent) if setting.data else None, path.parent)
    data = read_data(folder, setting.classes)
    return build_cache(data, image_size, path.parent, geometry=setting.geometry, skip_bad=setting.skip_bad)[0]
