"""Packs several trials on one GPU by the memory they will need and by what they were measured to gain together.

What cannot fit on any GPU is not started.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.tune.experiment import Trial

from search.cluster.gpu_sharing import HUNDREDTHS, Gains, Sharing
from search.settings.allocation import TOGETHER, Machine, Resources
from search.worker.gpu_memory_model import CONTEXT_MB, MemoryModel, need_of
from search.worker.messages import Epoch, Placed, Report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.config import TrialConfig
from trainable.counts import agrees, counted
from trainable.geometry import shape_text
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import read_json, write_json

FILE = "memory.json"
"""In the run folder: the footprints of its networks, and what they gain by sharing a GPU."""


class DoesNotFitError(Exception):
    """A config cannot be trained on any GPU there is."""


class Packing(TrialCallback):
    """Gives each trial its share of a GPU, and learns from the peak and the speed that its epochs report."""

    def __init__(
        self,
        run: RunFolder,
        gpu_memory_gb: float,
        measure: Callable[[TrialConfig], tuple[float, ...]],
        gpus: int = 1,
    ):
        """Begin with what the run's trials have shown.

        Args:
            run: whose trials are packed.
            gpu_memory_gb: of one GPU, of the smallest there is.
            measure: gives weights and memory kept of a photo, plain and with activation checkpointing, in MB, see
                `trainable/model/activation_memory.py`.
            gpus: of the machine or cluster.
        """
        self.run, self.total_mb, self.measure = run, 1000 * gpu_memory_gb, measure
        self.model = MemoryModel()
        self.footprints: dict[str, list[float]] = {}
        gains: Gains = {}
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            content = read_json(run.path / FILE)
            self.footprints = dict(content["footprints"])
            for together, found in content.get("gains", {}).items():  # a file of before has none
                gains[int(together)] = {int(trial): (network, float(gain)) for trial, (network, gain) in found.items()}
        self.sharing = Sharing(gpus, gains)
        self.learnt: set[int] = set()
        for folder in run.trials():
            if curve := folder.curve():
                self.learn(folder.number, TrialConfig.from_dict(folder.config()), curve[-1])

    def holds(self, live: int) -> bool:
        """Tell whether to hand out no trial now, see `Sharing.holds`; `live` have been and have not ended."""
        return self.sharing.holds(live)

    def share(self, config: TrialConfig) -> float:
        """Return the share of a GPU that a config gets: what it needs, or more where sharing was measured not to pay.

        Raises:
            DoesNotFitError: as `memory_share`.
        """
        return max(self.memory_share(config), self.sharing.share(_trained(config)))

    def memory_share(self, config: TrialConfig) -> float:
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
                f"not started: {counted(photos, 'photo')} of {shape_text(config.input_shape)} px at a time "
                f"{agrees(photos, 'needs', 'need')} at least "
                f"{least / 1000:.1f} GB, and a GPU has {room / 1000:.1f} GB for them"
            )
        _, _, most = self.model.predict(need_of(config, weights, photo, config.accumulation))
        needed = math.ceil(HUNDREDTHS * (most + CONTEXT_MB) / self.total_mb) / HUNDREDTHS
        return min(max(needed, 1 / TOGETHER), 1.0)

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Learn from an epoch, and note where it trains."""
        sent = assigned(trial)
        if isinstance(report, Placed):
            self.sharing.begins(trial.trial_id, sent.number, report.gpu, sent.resume)
        if isinstance(report, Epoch) and "peak_memory_mb" in report.row:
            config = TrialConfig.from_dict(sent.config)
            self.learn(sent.number, config, report.row)
            # With a frozen encoder the first epochs are faster, with whomever.
            tells = "images_per_s" in report.row and not config.freeze_share
            if tells and self.sharing.epoch(trial.trial_id, _trained(config), whole_rate(report.row)):
                self._write()

    def trial_recovers(self, trial: Trial) -> None:
        """A trial has lost its process."""
        self.sharing.ends(trial.trial_id)

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """A trial gives its share back."""
        self.sharing.ends(trial.trial_id)

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
        key = _network(config)
        if key not in self.footprints:
            self.footprints[key] = list(self.measure(config))
            self._write()
        weights, photo, *recomputed = self.footprints[key]  # a file of before has two figures
        return (weights, photo, recomputed[0] if recomputed else photo) if photo > 0 else None

    def _write(self) -> None:
        gains = {str(together): found for together, found in self.sharing.gains.items()}
        with contextlib.suppress(OSError):
            write_json(self.run.path / FILE, {"footprints": self.footprints, "gains": gains})


def whole_rate(row: dict[str, Any]) -> float:
    """Return the photos that an epoch trained a second of training and validation: sharing fills a wait in either."""
    return float(row["images_per_s"] * row["train_s"] / (row["train_s"] + row["val_s"]))


def _network(config: TrialConfig) -> str:
    network = f"{config.architecture} {config.encoder} {sorted(config.decoder.items())}"
    return f"{network} {shape_text(config.input_shape)}"


def _trained(config: TrialConfig) -> str:
    """Return what the speed of a training depends on most."""
    return f"{_network(config)} in batches of {config.batch_size}"


def packing_of(run: RunFolder, machine: Machine, share: Resources) -> Packing | None:
    """Return what packs a run's trials on a machine, None where all get the same share."""
    if not share.packed or not machine.gpu_memory_gb:
        return None
    return Packing(run, machine.gpu_memory_gb, measured, machine.gpus)


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
