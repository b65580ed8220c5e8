"""Trains the best trials' configs on the other folds: python search/run.py --confirm NAME --top 3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from search.ending.endings import End
from search.racing.candidates import find_finalists
from search.racing.race import Race, Task, rungs_of
from search.run_state.leaderboard import runs_dir_option, tell_end
from search.run_state.past_usage import read_usage
from search.session.surroundings import Session
from search.settings.allocation import Resources, resources
from search.settings.budget import Budget, Clock, read_budget
from search.settings.plan import Plan
from search.settings.settings import Settings, given_or, typed, whole
from trainable.counts import agrees, counted
from trainable.machine.called_as import command_line
from trainable.metric.paired_comparison import HELD, Standing
from trainable.run_folder.fold_models import trainings
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN, ENDED

if TYPE_CHECKING:
    from search.driver.lifecycle import Driver

SEEDS, SEEDS_OF_BUDGET = 1, 5
"""Trainings on each fold where --seeds does not say otherwise: without a budget, and at most with one."""

OVERHEAD = 1.1
"""What a training takes for each second of training and validating: starting, loading, saving."""


@dataclass(frozen=True)
class Final:
    """What is confirmed."""

    run: RunFolder
    plan: Plan
    numbers: list[int]
    race: Race
    budget: Budget


def confirm(session: Session, plan: Plan) -> int:
    """Race the finalists and print how they rank; returns the exit status.

    What has ended is not trained again, so the same command goes on after an interruption.

    Raises:
        ValueError: settings that do not fit the run, a budget that is spent, or data that has changed.
    """
    from search.callbacks.checkpoint_budget import keep_callbacks
    from search.callbacks.progress import Progress
    from search.callbacks.remote_sync import synced
    from search.callbacks.tensorboard_log import TensorBoardEvents
    from search.callbacks.trial_states import RecordStates
    from search.callbacks.usage import Hours
    from search.cluster.gpu_packing import packing_of
    from search.driver.lifecycle import Driver, share_of
    from search.driver.tune_runner import run_race
    from search.preparation.data_setup import prepare, setting_of
    from search.racing.race_searcher import Racer
    from search.run_state.console import tell

    settings, run, machine, console = session.settings, session.run, session.machine, session.console
    share = resources(machine, settings.concurrent, settings.gpus_per_trial)
    final = begin(settings, run, plan, share)
    race = final.race
    prepared = prepare(plan, run, session.dataset, True, console)
    if prepared.extra:
        for fold in {fold for fold, _ in race.rungs}:
            prepared.extra.check(fold, prepared.folds)
    packing = packing_of(run, machine, share)
    racer = Racer(run, race, console, packing)
    console.print(describe(final), share.description, sep="\n", highlight=False, soft_wrap=True)
    record, hours = RecordStates(run, plan.config.epochs), Hours(run, share)
    clock = Clock(final.budget, session.started)
    progress = Progress(run, len(race.left()), plan.config.epochs, console, further=True, seconds_left=clock.left)
    if final.budget.text:
        race.fits = lambda tasks: needed(final, share, tasks) <= clock.left() - final.budget.margin()

    def out(number: int, standing: Standing) -> None:
        progress.trials = progress.count(*ENDED) + len(race.left())
        tell(console, told_out(number, standing), "bold")

    race.tell = out
    driver = Driver(run, record, console, clock)

    def trials() -> None:
        with progress:
            keep = keep_callbacks(run, plan.keep_gb, console)
            packed = [packing] if packing else []
            callbacks = [record, hours, TensorBoardEvents(run), *keep, progress, *packed]
            run_race(racer, setting_of(plan, run, prepared), share, synced(run, callbacks, console))

    def finish() -> End:
        hours.close()
        racer.load()
        return _finish(final, settings, driver, console)

    return driver.drive(share_of(machine, share), session.beat, trials, finish)


def begin(settings: Settings, run: RunFolder, plan: Plan, share: Resources) -> Final:
    """Return what the settings ask for, none of it trained.

    Raises:
        ValueError: settings that do not fit the run, or a budget that is spent.
    """
    folds = given_or(whole(settings.folds), plan.folds)
    numbers = find_finalists(run, plan, settings.top, folds, settings.include)
    budget = read_budget(settings, share, read_usage(run).total())
    drop = not settings.no_race
    seeds = given_or(settings.seeds, SEEDS_OF_BUDGET if budget.text and drop else SEEDS)
    if plan.folds == 1 and seeds < 2:
        raise ValueError(
            f"run {run.path.name} validates on the data's own split, which has no other folds to confirm on; pass "
            "--seeds 3, say, to tell its configs apart by further seeds"
        )
    return Final(run, plan, numbers, Race(numbers, rungs_of(range(folds), plan.config.fold, seeds), drop), budget)


def describe(final: Final) -> str:
    """Return what is to be trained."""
    race, folds = final.race, {fold for fold, _ in final.race.rungs}
    seeds = len(race.rungs) // len(folds)
    numbers = ", ".join(map(str, final.numbers))
    trainings = f"{'at most ' if race.drop else ''}{counted(len(race.left()), 'training')} to go"
    on = f"{len(folds)} of {final.plan.folds} folds" + (f" x {seeds} seeds" if seeds > 1 else "")
    how = "; one shown to be worse is out after each fold" if race.drop and len(final.numbers) > 1 else ""
    return f"run {final.run.path.name}: trials {numbers} on {on}; {trainings}{how}"


def needed(final: Final, share: Resources, tasks: Sequence[Task]) -> float:
    """Return the seconds that some trainings take, all begun now, if each takes what its config's last one took."""
    seconds = []
    for number, _ in tasks:
        trial = final.run.trial(number)
        ended = [folder for folder in (trial, *trainings(trial).values()) if folder.curve()]
        rows = max(ended, key=lambda folder: folder.status().ended or 0.0).curve()
        epoch = sum(row["train_s"] + row["val_s"] for row in rows) / len(rows)
        seconds.append(OVERHEAD * epoch * final.plan.config.epochs)
    return max(seconds) * -(-len(seconds) // share.concurrent)


def told_out(number: int, standing: Standing) -> str:
    """Return what is said of a config that is shown to be worse."""
    fold, seed = standing.cells[-1]
    after = f"fold {fold}" + (f" with seed {seed + 1} of it" if seed > 0 else "")
    return (
        f"trial {number} is out after {after}: its val_miou less that of trial {standing.leader} is "
        f"{standing.differences[number]:+} on {counted(standing.compared[number], 'photo')}, {HELD}"
    )


def _finish(final: Final, settings: Settings, driver: "Driver", console: Console) -> End:
    """Print how the finalists rank, how the race has ended and what to do next."""
    from search.callbacks.remote_sync import send_records
    from search.callbacks.trial_states import mark_interrupted
    from search.callbacks.usage import print_hours
    from search.racing.ranking import print_ranking

    run, race = final.run, final.race
    folders = [folder for number in final.numbers for folder in run.trial(number).further_folds()]
    mark_interrupted(folders)
    tasks_left = race.left()
    end = driver.decide(left=len(tasks_left), sound=bool(race.results), limited=race.limited)
    print_ranking(run, final.numbers, race, console)
    print_hours(run, settings.rate, console)
    if tasks_left:
        seeds = len(race.rungs) // len({fold for fold, _ in race.rungs})
        trainings = f"{counted(len(tasks_left), 'training')} {agrees(len(tasks_left), 'has', 'have')} not ended"
        counts = f"{'at most ' if race.drop else ''}{trainings}"
        tell_end(console, f"{driver.reason(end)}: {counts}", again(run, settings, seeds))
    else:
        tell_end(console, end.told)
    for folder in folders:
        if folder.status().state in BROKEN:
            hint = f"to train trial {folder.number} fold {folder.path.name} again, remove {folder.path} and repeat this"
            console.print(hint, style="yellow", highlight=False, soft_wrap=True)
    if end.status == 0:
        command = command_line("analysis/ensemble.py", "--run", run.uri or str(run.path))
        console.print(f"next:\n  {command}    # one ensemble of them", highlight=False, soft_wrap=True)
    send_records(run, console)
    return end


def again(run: RunFolder, settings: Settings, seeds: int) -> str:
    """Return the command that goes on, without its budget."""
    command = ["--confirm", run.path.name]
    command += runs_dir_option(run)
    command += typed(settings.given(("top", "folds", "address", "gpus", "concurrent", "gpus_per_trial")))
    command += ["--seeds", str(seeds)] if seeds > 1 else []
    command += typed(settings.given(("no_race", "include")))
    return command_line("search/run.py", *command)
