"""A search from its plan to its end: what is prepared, what surrounds its trials, and what is said last."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from search.callbacks.checkpoint_budget import keep_callbacks
from search.callbacks.progress import Progress
from search.callbacks.remote_sync import send_records, synced
from search.callbacks.tensorboard_log import TensorBoardEvents
from search.callbacks.trial_states import RecordStates, mark_interrupted, saved
from search.callbacks.usage import Hours, print_hours
from search.cluster.gpu_packing import packing_of
from search.driver.lifecycle import Driver, share_of
from search.driver.tune_runner import run_trials
from search.ending.endings import FINISHED, End
from search.preparation.data_setup import Prepared, create, prepare, setting_of
from search.preparation.extend import extend, extended_at, extended_plan, settle
from search.preparation.space_checks import start_checks
from search.preparation.space_samples import check_draws
from search.preparation.warm_start import warm_start
from search.run_state.leaderboard import print_results, resume_command, tell_end
from search.run_state.past_usage import read_usage
from search.session.cost_forecast import (
    Outlook,
    describe,
    epochs_left,
    loosely,
    nearest_end,
    recorded_epoch,
    too_small,
    tried_epoch,
)
from search.session.surroundings import Session
from search.settings.allocation import Resources, resources
from search.settings.budget import Budget, Clock, expected_epochs, read_budget
from search.settings.plan import FORECAST, Plan
from search.settings.resolve import is_default, licence_note, network_note, new_plan
from search.settings.settings import Settings
from search.settings.trackers import service_callbacks
from search.tuning.freeze_thaw import Thawing
from search.tuning.priors import FILE, read_priors
from search.worker.trial_runner import TrialSetting
from trainable.counts import have_ended
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, ENDED


def run_search(session: Session, stored: Plan | None, warm: Sequence[RunFolder]) -> int:
    """Train the trials of a plan, new or stored, and say how they stand; returns the exit status.

    Args:
        session: this command's.
        stored: the run's plan, where it goes on; None for a new run.
        warm: runs that a new one starts warm from.

    Raises:
        ValueError, OSError: what cannot be searched, before the first trial.
    """
    settings, run, machine, console = session.settings, session.run, session.machine, session.console
    share = resources(machine, settings.concurrent, settings.gpus_per_trial)
    plan, budget = _plan_and_budget(settings, session, stored, share)
    services = service_callbacks(settings.wandb, settings.mlflow, run.path.name)
    begins = stored is None or settings.extend is not None
    plan, setting = _prepared(plan, session, stored, begins, warm)
    console.print(plan.describe(run.path.name), share.description, sep="\n", highlight=False, soft_wrap=True)
    for note in (network_note(plan), licence_note(plan)) if begins else ():
        if note:
            console.print(note, style="yellow", highlight=False, soft_wrap=True)
    epochs, ended = plan.config.epochs, _ended(run)
    to_come = replace(plan, trials=max(plan.trials - ended, 1))
    thawing = Thawing(run, epochs, plan.trials, read_priors(run, epochs)) if plan.stopper == FORECAST else None
    clock, hours, record = Clock(budget, session.started), Hours(run, share), RecordStates(run, epochs, thawing)
    expected = expected_epochs(plan) if thawing else 0.0
    progress = Progress(run, plan.trials, epochs, console, expected=expected, seconds_left=clock.left)
    packing = packing_of(run, machine, share)
    if thawing:
        thawing.tell = progress.tell
    driver = Driver(run, record, console, clock)

    def trials() -> None:
        with progress:
            if budget.text:
                # As a phase of a longer way, which told the hours of all phases, it has no time for trying.
                tries = begins and settings.to is None
                if tries:
                    with progress.measuring("some batches of the first configs are timed, for the forecast"):
                        epoch_s: float | None = tried_epoch(plan, setting, share)
                else:
                    epoch_s = recorded_epoch(run)
                if tries and epoch_s:
                    description = describe(budget, share, expected_epochs(to_come), epoch_s, loosely(to_come))
                    console.print(f"forecast: {description}", highlight=False, soft_wrap=True)
                if epoch_s and (lacking := too_small(budget, share, plan, nearest_end(run, epochs), epoch_s)):
                    console.print(lacking, style="yellow", highlight=False, soft_wrap=True)
                if thawing:
                    thawing.workers, thawing.epochs_left = share.concurrent, epochs_left(clock, hours, epoch_s)
            keep = keep_callbacks(run, plan.keep_gb, console)
            forecast = [Outlook(run, to_come, share, clock, hours, console)] if budget.text or budget.rate else []
            packed = [packing] if packing else []
            callbacks = [record, hours, TensorBoardEvents(run), *keep, progress, *packed, *forecast, *services]
            run_trials(plan, run, setting, share, synced(run, callbacks, console), thawing, packing)

    def finish() -> End:
        hours.close()
        return _finish(plan, run, settings, driver, budget, thawing is not None and thawing.limited(), console)

    return driver.drive(share_of(machine, share), session.beat, trials, finish)


def _plan_and_budget(
    settings: Settings, session: Session, stored: Plan | None, share: Resources
) -> tuple[Plan, Budget]:
    """Return what is to be searched, and what it may take; nothing is written."""
    run, machine = session.run, session.machine
    if stored is None:
        return new_plan(settings, machine, session.dataset), read_budget(settings, share, 0.0)
    if settings.extend is not None:
        return extended_plan(stored, run, settings, machine), read_budget(settings, share, 0.0)
    return stored, read_budget(settings, share, read_usage(run).total(since=extended_at(run)))


def _prepared(
    plan: Plan, session: Session, stored: Plan | None, begins: bool, warm: Sequence[RunFolder]
) -> tuple[Plan, TrialSetting]:
    """Check a plan that begins, have the run's folder say it, and return it as far as it can train.

    Raises:
        ValueError: it cannot train, or its photos are not those of the run whose configs are promoted.
    """
    run, dataset, machine, console = session.run, session.dataset, session.machine, session.console
    promoted = session.settings.promoted.folds if session.settings.promoted else None
    # The default search is known to work, and checks take the seconds of importing PyTorch in more processes.
    checks = start_checks(plan, machine) if begins and not is_default(plan, machine) else None
    prepared = prepare(plan, run, dataset, stored is not None, console, promoted, session.settings.classes)
    plan = checks(console) if checks else plan
    if begins:
        data = prepared.data
        check_draws(plan, [fold_data.cache for fold_data in data.values()], data[plan.config.image_size].train)
    if stored is None:
        create(plan, run, prepared, _priors(warm, plan, prepared, console), session.settings.command())
    elif begins:
        console.print(extend(run, stored, plan, session.settings.command()), highlight=False, soft_wrap=True)
    else:
        settle(run)
    return plan, setting_of(plan, run, prepared)


def _priors(runs: Sequence[RunFolder], plan: Plan, prepared: Prepared, console: Console) -> dict[str, Any]:
    """Return what a warm start puts into the run's folder, by file, and say what it is."""
    if not runs:
        return {}
    priors, lines = warm_start(runs, plan, prepared)
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    return {FILE: priors.record()}


def _finish(
    plan: Plan,
    run: RunFolder,
    settings: Settings,
    driver: Driver,
    budget: Budget,
    limited: bool,
    console: Console,
) -> End:
    mark_interrupted(run.trials())
    folders = run.trials()
    ended = _ended(run)
    sound = any(folder.curve() and folder.status().state not in BROKEN for folder in folders)
    end = driver.decide(left=plan.trials - ended, sound=sound, limited=limited and bool(budget.text))
    if folders:
        print_results(run, plan, console)
        print_hours(run, settings.rate, console)
    if end is not FINISHED:
        why = driver.reason(end)
        counts = ", ".join(filter(None, [have_ended(ended, plan.trials), saved(folders)]))
        resume = resume_command(run, settings) if ended < plan.trials else ""
        tell_end(console, f"{why}: {counts}" if resume else why, resume)
    else:
        tell_end(console, end.told)
    send_records(run, console)
    return end


def _ended(run: RunFolder) -> int:
    return sum(folder.status().state in ENDED for folder in run.trials())
