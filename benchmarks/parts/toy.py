"""A search of a trainable that costs nothing: for what a search itself costs and survives.

    python -m benchmarks.parts.toy RUN --trials 8 --epochs 6      # begins the run or goes on with it

Searcher, scheduler, records and recovery are the real ones; only the training is replaced by one that keeps its state
and its curve as the real one does.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from rich.console import Console

from search.cluster.auth_token import set_up_access
from search.settings.settings import Settings
from search.worker.messages import Assignment

set_up_access(local=True)  # before Ray is imported

from search.settings.allocation import Machine, resources
from search.settings.plan import Plan
from search.settings.resolve import new_plan
from search.worker import trial_runner as adapter
from search.worker.trial_runner import TrialSetting
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import ENDED
from trainable.storage.atomic_write import write_bytes, write_json

MACHINE = Machine(cores=2, gpus=0)


def plan_of(trials: int, epochs: int, seed: int) -> Plan:
    """Return the plan of a toy search."""
    return new_plan(Settings(trials=trials, epochs=epochs, seed=seed), MACHINE)


def value_of(config: dict, epoch: int) -> float:
    """Return a trial's val_miou: rising, the faster the better the config, with some noise; never twice the same."""
    seed = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).digest()
    quality, noise = np.random.default_rng([*seed[:8]]).uniform(0.2, 0.8), np.random.default_rng([*seed[:8], epoch])
    return float(quality * (1 - np.exp(-epoch / 3)) + noise.normal(0, 0.02))


def toy(assignment: Assignment, setting: TrialSetting, report, halt, saved) -> None:  # type: ignore[no-untyped-def]
    """Stand in for `search.worker.trial_runner.train`."""
    folder = assignment.folder(RunFolder(setting.run))
    pause, log = float(os.environ.get("TOY_EPOCH_S", "0")), os.environ.get("TOY_LOG")
    rows = []
    for path in (folder.last_state, folder.previous_state):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                rows = json.loads(file.metadata()["header"])["rows"]
            break
        except (OSError, safetensors.SafetensorError):
            continue
    if rows:
        folder.write_curve(rows)
        saved()
        report(rows[-1])
    for epoch in range(len(rows) + 1, assignment.config["epochs"] + 1):
        time.sleep(pause)
        halt()
        if log:
            with Path(log).open("a") as file:
                file.write(f"{assignment.number} {epoch}\n")
        value = value_of(assignment.config, epoch)
        rows.append({"epoch": epoch, "val_miou": value, "val_miou_full": value, "train_s": pause, "val_s": 0.0})
        halt()
        save(folder, rows)
        saved()
        report(rows[-1])


def save(folder: TrialFolder, rows: list) -> None:
    """Write state and curve as a training does."""
    folder.keep_previous_state()
    state = np.full(int(os.environ.get("TOY_STATE_BYTES", "1000")), len(rows), np.uint8)
    write_bytes(folder.last_state, safetensors.numpy.save({"state": state}, {"header": json.dumps({"rows": rows})}))
    folder.write_curve(rows)


def toy_trial(sent: dict[str, Any], setting: TrialSetting) -> None:
    """Run a trial whose training is `toy`."""
    adapter.train = toy
    adapter.run_trial(sent, setting)


def main() -> int:
    """Run a toy search; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrent", type=int, default=1)
    options = parser.parse_args()
    from search.callbacks.progress import Progress
    from search.callbacks.tensorboard_log import TensorBoardEvents
    from search.callbacks.trial_states import RecordStates
    from search.driver import tune_runner as launch
    from search.driver.lifecycle import Driver, share_of
    from search.ending.endings import End
    from search.run_state.heartbeat import claimed
    from search.tuning.freeze_thaw import Thawing

    plan, run = plan_of(options.trials, options.epochs, options.seed), RunFolder(options.run.absolute())
    run.path.mkdir(parents=True, exist_ok=True)
    if not (run.path / "search.json").exists():
        write_json(run.path / "search.json", {"plan": plan.__dict__})
    launch.run_trial = toy_trial
    console = Console(width=130, markup=False, emoji=False)
    thawing = Thawing(run, options.epochs, options.trials)
    record, share = RecordStates(run, options.epochs, thawing), resources(MACHINE, options.concurrent, None)
    progress = Progress(run, plan.trials, options.epochs, console)
    began = time.monotonic()

    def train() -> None:
        callbacks = [record, TensorBoardEvents(run), progress]
        with progress:
            launch.run_trials(plan, run, TrialSetting(run.path, None, {}, False), share, callbacks, thawing)

    def finish() -> End:
        unfinished = sum(folder.status().state not in ENDED for folder in run.trials())
        return driver.decide(left=unfinished, sound=True, limited=False)

    with launch.ray_running(), claimed(run) as beat:
        driver = Driver(run, record, console)
        status = driver.drive(share_of(MACHINE, share), beat, train, finish)
    console.print(f"ran {time.monotonic() - began:.1f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
