"""Starts Ray and runs the trials of a plan on it."""

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Read when Ray is imported. Paths stay the user's; our own callbacks write the run folder; nothing is sent home.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner shows even at verbose=0
# Tune's own snapshots are not used: the run folder is the state.
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.machine import Machine, Resources
from search.plan import Plan
from search.record import reconcile
from search.study import Listed, ResumableASHA, StudySearch, open_study
from search.trial import TrialSetting, gpu_memory_gb, run_trial
from spaces.table import find_space
from trainable.artifacts import ENDED, RunFolder
from trainable.cores import cpu_count

OBJECT_STORE_BYTES = 200_000_000
"""Photos are shared by memory map, so Ray's object store carries next to nothing."""


@contextmanager
def ray_running() -> Iterator[Machine]:
    """Run Ray on this machine, quietly, and tell what it found."""
    ray.init(
        address="local", num_cpus=cpu_count(), include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
        logging_level=logging.ERROR, log_to_driver=False,
    )  # fmt: skip
    try:
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0))
        memory = ray.get(ray.remote(num_gpus=1)(gpu_memory_gb).remote()) if gpus else None
        yield Machine(cores=int(found["CPU"]), gpus=gpus, gpu_memory_gb=memory)
    finally:
        ray.shutdown()


def run_trials(
    plan: Plan, run: RunFolder, setting: TrialSetting, share: Resources, callbacks: Sequence[tune.Callback]
) -> None:
    """Run the trials that are missing to the plan's number; returns early, without error, on Ctrl-C or SIGTERM.

    Args:
        plan: what to search.
        run: written by the trials and the callbacks; trials that ended there are not run again.
        setting: what all trials share.
        share: how many trials run at a time, on what.
        callbacks: told of each trial's start, epochs and end.
    """
    space = find_space(plan.space, plan.scope)
    study = open_study(run, space.first_trials)
    reconcile(run, study)
    ended = sum(folder.status()["state"] in ENDED for folder in run.trials())
    if ended >= plan.trials:
        return
    searcher = StudySearch(run, study, space, plan.config, plan.trials)
    asha = ResumableASHA(run, plan.config.epochs, plan.grace, plan.reduction)
    _fit(searcher, asha, plan.trials - ended, setting, share, callbacks)


def run_tasks(
    tasks: Sequence[dict[str, Any]], setting: TrialSetting, share: Resources, callbacks: Sequence[tune.Callback]
) -> None:
    """Run trainings that are known beforehand, each to the end of its budget; otherwise as `run_trials`."""
    if tasks:
        _fit(Listed(tasks), FIFOScheduler(), len(tasks), setting, share, callbacks)


def _fit(
    searcher: Searcher, scheduler: TrialScheduler, trials: int, setting: TrialSetting, share: Resources,
    callbacks: Sequence[tune.Callback],
) -> None:  # fmt: skip
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by our own callbacks
    staging = tempfile.mkdtemp(prefix="trashsweep-tune-")
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        tuner = tune.Tuner(
            _trainable(setting, share),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=scheduler,
                num_samples=trials, max_concurrent_trials=share.concurrent, reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=staging, name="tune", verbose=0, callbacks=list(callbacks)),
        )  # fmt: skip
        tuner.fit()
    finally:
        signal.signal(signal.SIGTERM, previous)
        shutil.rmtree(staging, ignore_errors=True)


def _trainable(setting: TrialSetting, share: Resources) -> Any:
    shares = {"cpu": share.cpus_per_trial, "gpu": share.gpus_per_trial}
    return tune.with_resources(tune.with_parameters(run_trial, setting=setting), shares)
