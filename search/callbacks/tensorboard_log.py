"""TensorBoard events of each trial, in its own folder: what its curve says, epoch by epoch."""

import contextlib
import math
import time
from typing import Any

from ray.tune.experiment import Trial
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from search.worker.messages import Epoch, Report
from search.worker.trial_callback import TrialCallback, assigned
from trainable.run_folder.folders import RunFolder, TrialFolder


class TensorBoardEvents(TrialCallback):
    """Writes each epoch as it comes. The file can always be made again from the curve, so it may fail (a full disk).

    Tune's own logger writes to a staging folder on the driver that is copied from time to time, and through
    tensorboardX, whose import of torch costs a driver seconds and 350 MB.
    """

    def __init__(self, run: RunFolder):
        self.run = run
        self.writers: dict[str, RecordWriter] = {}

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Write one epoch."""
        if not isinstance(report, Epoch):
            return
        try:
            if trial.trial_id in self.writers:
                write_epoch(self.writers[trial.trial_id], report.row)
            else:  # the first since this search, or its resume, began, or after a failure
                self.writers[trial.trial_id] = write_anew(assigned(trial).folder(self.run))
        except OSError:
            self._close(trial.trial_id)

    def trial_ended(self, trial: Trial, failed: bool) -> None:
        """Close the file."""
        self._close(trial.trial_id)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close the files of interrupted trials."""
        for trial_id in list(self.writers):
            self._close(trial_id)

    def _close(self, trial_id: str) -> None:
        with contextlib.suppress(KeyError, OSError):
            self.writers.pop(trial_id).close()


def write_anew(folder: TrialFolder) -> RecordWriter:
    """Write all epochs of a trial's curve, in place of what there was."""
    for path in folder.path.glob("events.out.tfevents.*"):
        path.unlink()
    now = time.time()
    writer = RecordWriter((folder.path / f"events.out.tfevents.{now:.0f}.trashsweep").open("wb"))
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())  # what readers ask for first
    for row in folder.curve():
        write_epoch(writer, row)
    return writer


def write_epoch(writer: RecordWriter, row: dict[str, Any]) -> None:
    """Write the figures of one epoch."""
    for name, value in epoch_values(row).items():
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        writer.write(Event(wall_time=time.time(), step=int(row["epoch"]), summary=summary).SerializeToString())
    writer.flush()


def epoch_values(result: dict[str, Any]) -> dict[str, float]:
    """Return the finite figures of an epoch under TensorBoard names: losses, val_miou, per-class IoU, speed."""
    groups = {"train_loss": "loss", "val_loss": "loss", "val_miou": "miou", "val_miou_full": "miou"}
    names = {name: f"{group}/{name}" for name, group in groups.items()}
    names |= {name: f"class_iou/{name.removeprefix('iou_')}" for name in result if name.startswith("iou_")}
    names |= {name: f"run/{name}" for name in ("lr", "images_per_s", "train_s", "val_s", "peak_memory_mb")}
    return {tag: result[name] for name, tag in names.items() if name in result and math.isfinite(result[name])}
