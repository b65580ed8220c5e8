"""Search hyperparameters: python search/run.py --space losses [--data DIR]."""

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console

from search.access import set_up_access
from search.arguments import parse
from search.budget import Budget, Clock, expected_epochs, read_budget
from search.comparable import check_comparable
from search.ends import BAD_INPUT, BUG, CAUSES, CTRL_C, FINISHED, End
from search.folders import driven, earlier_name, earlier_runs, run_folder
from search.heartbeat import Heartbeat
from search.machine import Machine, Resources, resources
from search.plan import FORECAST, Plan, check_draws, is_default, keep_places, new_plan, place, stored_plan
from search.results import resume_command, tell_end
from search.signals import EndedBySignalError, LastingOutput, heard, raise_cause
from search.validate import LOCAL, read_dataset, validate, validate_going_on, validate_submitted
from trainable.artifacts import BROKEN, ENDED, RunFolder
from trainable.cache import default_cache_dir
from trainable.coco import Dataset
from trainable.terminal import open_console

if TYPE_CHECKING:
    from search.driving import Driver
    from search.prepare import Prepared
    from search.trial import TrialSetting



def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status."""
    started = time.monotonic()
    console = open_console(wide=True, file=cast(TextIO, LastingOutput(sys.stdout)))
    options: dict[str, Any] = {}
    run = status = None
    try:
        with heard(raise_cause):
            options = parse(arguments)
            if "submit" in options:
                validate_submitted(options)
                set_up_access(local=False)
                from search.submit import submit

                return submit(sys.argv[1:] if arguments is None else arguments, options, console)
            run, warm = run_folder(options), earlier_runs(options)
            for each in warm:
                check_comparable(each)
            earlier = earlier_name(options) is not None
            stored = stored_plan(run, options) if earlier else None
            validate(options, run, stored)

            def tell(text: str) -> None:
                console.print(text, highlight=False, soft_wrap=True)

            with ExitStack() as held:
                if not earlier:  # the name is taken from now on
                    run, beat = held.enter_context(driven(options, run, tell))
                dataset = read_dataset(options, run, stored)
                address = options.get("address", LOCAL)
                set_up_access(local=address == LOCAL)
                from search.launch import ray_running

                if stored:
                    validate_going_on(options, run, stored, dataset)
                    # What could be checked without starting or writing anything has been.
                    run, beat = held.enter_context(driven(options, run, tell))
                    stored = stored_plan(run, options)
                threading.Thread(target=_import_ahead, daemon=True).start()
                held.enter_context(ray_running(address))
                from search.cluster import find_machine

                machine = find_machine(options.get("gpus"), console)
                check_nodes(run, options, stored, console)
                if stored:
                    keep_places(run, stored)
                if stored and "confirm" in options:
                    from search.confirm import confirm

                    status = confirm(options, run, stored, dataset, machine, console, beat, started)
                else:
                    status = _search(options, run, stored, warm, dataset, machine, console, beat, started)
            return status
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return BAD_INPUT.status
    except KeyboardInterrupt as error:
        if status is not None:
            return status  # all has been told, and Ray's processes end with this one
        end = CAUSES[error.cause if isinstance(error, EndedBySignalError) else CTRL_C]
        # What extends a run has not done so yet.
        goes_on = run and not {"confirm", "extend"} & options.keys() and (run.path / "search.json").exists()
        before = "before the first trial" + " of this session" * bool(goes_on)
        tell_end(console, f"{end.told}, {before}", resume_command(run, options) if run and goes_on else "")
        return end.status
    except Exception:
        traceback.print_exc()
        tell_end(console, f"{BUG.told}; nothing was trained")
        return BUG.status


def _search(
    options: dict[str, Any], run: RunFolder, stored: Plan | None, warm: Sequence[RunFolder], dataset: Dataset,
    machine: Machine, console: Console, beat: Heartbeat, started: float,
) -> int:  # fmt: skip
    from search.hours import Hours
    from search.launch import run_trials
    from search.logging_services import service_callbacks

    share = resources(machine, options.get("concurrent"), options.get("gpus_per_trial"))
    plan, budget = _asked(options, run, stored, machine, share)
    services = service_callbacks(options.get("wandb"), options.get("mlflow"), run.path.name)
    begins = stored is None or "extend" in options
    plan, setting = _prepared(plan, run, stored, begins, warm, dataset, machine, console)
    from search.driving import Driver, driver_facts
    from search.events import TensorBoardEvents
    from search.keep import keep_callbacks
    from search.outlook import (
        Outlook,
        describe,
        epochs_left,
        loosely,
        nearest_end,
        recorded_epoch,
        too_small,
        tried_epoch,
    )  # fmt: skip
    from search.packing import packing_of
    from search.priors import read_priors
    from search.progress import Progress
    from search.record import RecordStates
    from search.sync import synced
    from search.thawing import Thawing

    console.print(plan.describe(run.path.name), share.description, sep="\n", highlight=False, soft_wrap=True)
    epochs, ended = plan.config.epochs, _ended(run)
    to_come = replace(plan, trials=max(plan.trials - ended, 1))
    thawing = Thawing(run, epochs, plan.trials, read_priors(run, epochs)) if plan.stopper == FORECAST else None
    clock, hours, record = Clock(budget, started), Hours(run, share), RecordStates(run, epochs, thawing)
    expected = expected_epochs(plan) if thawing else 0.0
    progress = Progress(run, plan.trials, epochs, console, expected=expected, seconds_left=clock.left)
    packing = packing_of(run, machine, share)
    if thawing:
        thawing.tell = progress.tell
    driver = Driver(run, record, console, clock)

    def trials() -> None:
        with progress:
            if budget.text:
                epoch_s = tried_epoch(plan, setting, share) if begins else recorded_epoch(run)
                if begins and epoch_s:
                    told = describe(budget, share, expected_epochs(to_come), epoch_s, loosely(to_come))
                    console.print(f"forecast: {told}", highlight=False, soft_wrap=True)
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
        return _finish(plan, run, options, driver, budget, thawing is not None and thawing.limited(), console)

    return driver.drive(driver_facts(machine, share), beat, trials, finish)


def _asked(
    options: dict[str, Any], run: RunFolder, stored: Plan | None, machine: Machine, share: Resources
) -> tuple[Plan, Budget]:
    """Return what is to be searched, and what it may take; nothing is written."""
    from search.extend import extended_at, extended_plan
    from search.hours import read_hours, total

    if stored is None:
        return new_plan(options, machine), read_budget(options, share, 0.0)
    if "extend" in options:
        return extended_plan(stored, run, options, machine), read_budget(options, share, 0.0)
    return stored, read_budget(options, share, total(read_hours(run)["sessions"], since=extended_at(run)))


def _prepared(
    plan: Plan, run: RunFolder, stored: Plan | None, begins: bool, warm: Sequence[RunFolder], dataset: Dataset,
    machine: Machine, console: Console,
) -> tuple[Plan, "TrialSetting"]:  # fmt: skip
    """Check a plan that begins, have the run's folder say it, and return it as far as it can train."""
    from search.checks import start_checks
    from search.extend import extend, settle

    # The default search is known to work, and checks take the seconds of importing PyTorch in more processes.
    checks = start_checks(plan, machine) if begins and not is_default(plan, machine) else None
    from search.prepare import create, prepare, setting_of

    prepared = prepare(plan, run, dataset, stored is not None, console)
    plan = checks(console) if checks else plan
    if begins:
        data = prepared.data
        check_draws(plan, [each.cache for each in data.values()], data[plan.config.image_size].train)
    if stored is None:
        create(plan, run, prepared, _priors(warm, plan, prepared, console))
    elif begins:
        console.print(extend(run, stored, plan), highlight=False, soft_wrap=True)
    else:
        settle(run)
    return plan, setting_of(plan, run, prepared)


def _priors(runs: Sequence[RunFolder], plan: Plan, prepared: "Prepared", console: Console) -> dict[str, Any]:
    """Return what a warm start puts into the run's folder, by file, and say what it is."""
    if not runs:
        return {}
    from search.priors import FILE
    from search.warm_start import warm_start

    priors, told = warm_start(runs, plan, prepared)
    for line in told:
        console.print(line, highlight=False, soft_wrap=True)
    return {FILE: priors.record()}


def check_nodes(run: RunFolder, options: dict[str, Any], stored: Plan | None, console: Console) -> None:
    """Look at every node before anything else is done there; says nothing of a single one that is well."""
    from search.preflight import preflight

    data = stored.data if stored else place(options["data"]) if "data" in options else None
    cache_dir = stored.cache_dir if stored else str((options.get("cache_dir") or default_cache_dir()).absolute())
    root = run.uri.rsplit("/", 1)[0] if run.uri else str(run.path.parent)
    preflight({"storage": root, "cache_dir": cache_dir, "data": data}, console, quiet=True)


def _finish(
    plan: Plan, run: RunFolder, options: dict[str, Any], driver: "Driver", budget: Budget, limited: bool,
    console: Console,
) -> End:  # fmt: skip
    from search.hours import print_hours
    from search.record import mark_interrupted, saved
    from search.results import print_results
    from search.sync import send_records

    mark_interrupted(run.trials())
    folders = run.trials()
    ended = _ended(run)
    sound = any(folder.curve() and folder.status()["state"] not in BROKEN for folder in folders)
    end = driver.decide(left=plan.trials - ended, sound=sound, limited=limited and bool(budget.text))
    if folders:
        print_results(run, plan, console)
        print_hours(run, options.get("rate"), console)
    if end is not FINISHED:
        why = driver.told(end)
        counts = ", ".join(filter(None, [f"{ended} of {plan.trials} trials have ended", saved(folders)]))
        resume = resume_command(run, options) if ended < plan.trials else ""
        tell_end(console, f"{why}: {counts}" if resume else why, resume)
    send_records(run, console)
    return end


def _ended(run: RunFolder) -> int:
    return sum(folder.status()["state"] in ENDED for folder in run.trials())


def _import_ahead() -> None:
    """Import what comes after Ray's start, some seconds' work, while that waits for its processes."""
    import search.prepare
    import search.progress
    import search.record
    import search.results  # noqa: F401


if __name__ == "__main__":
    sys.exit(main())
