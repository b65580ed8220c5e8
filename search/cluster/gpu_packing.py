"""Packs several trials on one GPU by the memory they will need, and does not start what cannot fit on any."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.tune.experiment import Trial

from search.settings.allocation import TOGETHER, Machine, Resources
from search.worker.gpu_memory_model import CONTEXT_MB, MemoryModel, need_of
from search.worker.messages import Epoch, Report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.config import TrialConfig
from trainable.counts import agrees, counted
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import read_json, write_json

FILE = "memory.json"
"""In the run folder: the footprints of its networks."""

STEP = 100
"""Shares are whole hundredths of a GPU: so few sizes that Tune can use a worker again."""


class DoesNotFitError(Exception):
    """A config cannot be trained on any GPU there is."""


class Packing(TrialCallback):
    """Gives each trial its share of a GPU, and learns from the peak that its epochs report."""

    def __init__(self, run: RunFolder, gpu_memory_gb: float, measure: Callable[[TrialConfig], tuple[float, ...]]):
        """Begin with what the run's trials have shown.

        Args:
            run: whose trials are packed.
            gpu_memory_gb: of one GPU, of the smallest there is.
            measure: gives weights and memory kept of a photo, plain and with activation checkpointing, in MB, see
                `trainable/model/activation_memory.py`.
        """
        self.run, self.total_mb, self.measure = run, 1000 * gpu_memory_gb, measure
        self.model = MemoryModel()
        self.footprints: dict[str, list[float]] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self.footprints = dict(read_json(run.path / FILE)["footprints"])
        self.learnt: set[int] = set()
        for folder in run.trials():
            if curve := folder.curve():
                self.learn(folder.number, TrialConfig.from_dict(folder.config()), curve[-1])

    def share(self, config: TrialConfig) -> float:
        """Return the share of a GPU that a config needs, 1 where it fits by activation checkpointing or in parts alone.

        Raises:
            DoesNotFitError: two photos at a time need more than a GPU has, by activation checkpointing too.
        """
        footprint = self._footprint(config)
        if footprint is None:
            return 1.0
        room = self.total_mb - CONTEXT_MB
        parts = max(config.batch_size // 2, 1)
        weights, photo, recomputed = footprint
        least, _, _ = self.model.predict(need_of(config, weights, recomputed, parts))
        if least > room:
            photos = config.batch_size // parts
            raise DoesNotFitError(
                f"not started: {counted(photos, 'photo')} of {config.image_size} px at a time "
                f"{agrees(photos, 'needs', 'need')} at least "
                f"{least / 1000:.1f} GB, and a GPU has {room / 1000:.1f} GB for them"
            )
        _, _, most = self.model.predict(need_of(config, weights, photo, config.accumulation))
        needed = math.ceil(STEP * (most + CONTEXT_MB) / self.total_mb) / STEP
        return min(max(needed, 1 / TOGETHER), 1.0)

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Learn from an epoch."""
        if isinstance(report, Epoch) and "peak_memory_mb" in report.row:
            self.learn(assigned(trial).number, TrialConfig.from_dict(assigned(trial).config), report.row)

    def learn(self, number: int, config: TrialConfig, row: dict[str, Any]) -> None:
        """Learn from an epoch's row; further ones of the same trial tell nothing new."""
        footprint = self._footprint(config)
        if footprint is None or number in self.learnt:
            return
        self.learnt.add(number)
        weights, photo, recomputed = footprint
        photo_mb = recomputed if row.get("recomputed") == 1 else photo  # rows of an earlier version do not tell
        self.model.observe(need_of(config, weights, photo_mb, int(row["accumulation"])), row["peak_memory_mb"])

    def _footprint(self, config: TrialConfig) -> tuple[float, float, float] | None:
        """Return weights and what is kept of a photo, plain and recomputed, or None where they cannot be told."""
        key = f"{config.architecture} {config.encoder} {sorted(config.decoder.items())} {config.image_size}"
        if key not in self.footprints:
            self.footprints[key] = list(self.measure(config))
            with contextlib.suppress(OSError):
                write_json(self.run.path / FILE, {"footprints": self.footprints})
        weights, photo, *recomputed = self.footprints[key]  # a file of before has two figures
        return (weights, photo, recomputed[0] if recomputed else photo) if photo > 0 else None


def packing_of(run: RunFolder, machine: Machine, share: Resources) -> Packing | None:
    """Return what packs a run's trials on a machine, None where all get the same share."""
    return Packing(run, machine.gpu_memory_gb, measured) if share.packed and machine.gpu_memory_gb else None


def measured(config: TrialConfig) -> tuple[float, ...]:
    """Return the footprint of a config's network, counted by a worker; zeros where it cannot be built.

    PyTorch takes seconds to import, which the driver need not spend.
    """
    plain = replace(config, device="auto", precision="auto", memory_format="auto")
    return ray.get(ray.remote(num_cpus=0)(_count).remote(plain))


def _count(config: TrialConfig) -> tuple[float, ...]:
    from trainable.model.activation_memory import footprint

    try:
        memory = footprint(config)
    except (ValueError, RuntimeError, AssertionError):
        return 0.0, 0.0, 0.0
    return memory.weights_mb, memory.photo_mb, memory.recomputed_mb
