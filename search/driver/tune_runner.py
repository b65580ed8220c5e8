"""Starts Ray and runs the trials of a plan on it."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

# Read when Ray is imported. Paths stay the user's; our own callbacks write the run folder; nothing is sent home.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner shows even at verbose=0
# Tune's own snapshots are not used: the run folder is the state.
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")
# A trial that ends broken reports that, and no metric.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
# Its handler aborts at SIGTERM, which is ours.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
# A worker that was halted raises, with nobody left to ask what; it has told the driver before.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
# A first Ctrl-C is the driver's: running trials save before Tune is told, see `search/driver/lifecycle.py`.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.cluster.gpu_packing import Packing
from search.cluster.ray_adapter import Silent, outlive_killed_workers
from search.cluster.ray_cluster import join_ray, start_ray, stop_ray
from search.cluster.ray_requirements import SHARED_MEMORY
from search.driver.tune_memory import Forgetting
from search.settings.allocation import Resources
from search.settings.plan import ASHA, Plan
from search.tuning.asha import ResumableASHA
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from search.tuning.journal import choices
from search.tuning.priors import read_priors
from search.tuning.study import StudySearch, open_study
from search.worker.messages import Assignment
from search.worker.trial_runner import TrialSetting, run_trial, trainable
from spaces.begun import as_begun
from spaces.table import find_space
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import ENDED

STAGING_BYTES = 32_000_000
"""More than Tune writes of a search."""

_staging: set[str] = set()
"""Folders of what Tune writes."""


def remove_staging() -> None:
    """Remove what Tune has written."""
    while _staging:
        shutil.rmtree(_staging.pop(), ignore_errors=True)


@contextmanager
def ray_running(address: str = "local") -> Iterator[None]:
    """Run Ray on this machine, quietly, or join the cluster at an address; leaves it at the end."""
    if address == "local":
        start_ray()
    else:
        join_ray(address)
    try:
        yield
    finally:
        stop_ray()


def run_trials(
    plan: Plan,
    run: RunFolder,
    setting: TrialSetting,
    share: Resources,
    callbacks: Sequence[tune.Callback],
    thawing: Thawing | None = None,
    packing: Packing | None = None,
) -> None:
    """Run the trials that are missing to the plan's number; returns early, without error, on Ctrl-C or SIGTERM.

    Args:
        plan: what to search.
        run: written by the trials and the callbacks; trials that ended there are not run again.
        setting: what all trials share.
        share: how many trials run at a time, on what.
        callbacks: told of each trial's start, epochs and end.
        thawing: decides what goes on, where ASHA does not.
        packing: decides what share of a GPU each trial gets, where they do not get the same.
    """
    space = find_space(plan.space, plan.scope)
    if priors := read_priors(run, plan.config.epochs):
        space = priors.space(space)
    space = as_begun(space, choices(run.study, plan.start))
    study = open_study(run, space, plan.start)
    ended = sum(folder.status().state in ENDED for folder in run.trials())
    if ended >= plan.trials:
        return
    scheduler: TrialScheduler = FIFOScheduler()
    if thawing:
        thawing.load()
        scheduler = ThawingScheduler(thawing)
    elif plan.stopper == ASHA:
        scheduler = ResumableASHA(run, study, plan.config.epochs, plan.grace, plan.reduction)
    searcher = StudySearch(
        run, study, space, plan.config, plan.trials, thawing, packing, start=plan.start, priors=priors
    )
    # A paused trial that goes on is a new one to Tune.
    _fit(searcher, scheduler, -1 if thawing else plan.trials - ended, setting, share, callbacks)
    searcher.close()


def run_race(racer: Searcher, setting: TrialSetting, share: Resources, callbacks: Sequence[tune.Callback]) -> None:
    """Run what `search/racing/race_searcher.py` hands out, each to the end of its budget; otherwise as `run_trials`."""
    _fit(racer, FIFOScheduler(), -1, setting, share, callbacks)


def _fit(
    searcher: Searcher,
    scheduler: TrialScheduler,
    trials: int,
    setting: TrialSetting,
    share: Resources,
    callbacks: Sequence[tune.Callback],
) -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by our own callbacks
    outlive_killed_workers()
    # What Tune writes is not needed; in memory it cannot meet a full disk.
    roomy = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free > STAGING_BYTES
    staging = tempfile.mkdtemp(prefix="trashsweep-tune-", dir=SHARED_MEMORY if roomy else None)
    _staging.add(staging)
    try:
        tuner = tune.Tuner(
            _placed(setting, share),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=trials,
                max_concurrent_trials=share.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=staging,
                name="tune",
                verbose=0,
                callbacks=[*callbacks, Silent(), Forgetting()],
                # `search/callbacks/trial_states.py` counts: a trial that was halted has not failed.
                failure_config=tune.FailureConfig(max_failures=-1),
            ),
        )
        tuner.fit()
    finally:
        remove_staging()


def _placed(setting: TrialSetting, share: Resources) -> Any:
    def placement(sent: dict[str, Any]) -> tune.PlacementGroupFactory:
        gpus = Assignment.read(sent).gpus
        bundle = {"CPU": share.cpus_per_trial, "GPU": share.gpus_per_trial if gpus is None else gpus}
        # Fewer trials than fit are spread over the nodes, not packed on one.
        return tune.PlacementGroupFactory([bundle], strategy="SPREAD")

    return tune.with_resources(trainable(run_trial, replace(setting, gpus=share.gpus_per_trial)), placement)
