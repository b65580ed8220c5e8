"""Extends a search: more trials, of wider ranges or more spaces too, and more epochs for those that were stopped.

Nothing is run again. The trials there are keep their configs and become part of the new space as far as it can say
them (`search/tuning/config_to_params.py`): the study is rebuilt from their folders in its terms.
"""

import time
from dataclasses import asdict, replace

from search.preparation.encoder_weights_folder import fingerprints
from search.settings.allocation import Machine
from search.settings.plan import ASHA, FORECAST, Plan, check_plan
from search.settings.resolve import image_sizes, sizes_above, tile_sizes
from search.settings.settings import Settings, given_or
from search.tuning.freeze_thaw import LEAST_CHANCE, Thawing
from spaces.encoders import STRIDES, group_for, pairs
from spaces.optimizers import freeze_shares
from spaces.table import GIVEN, NONE, space_names
from trainable.counts import agrees, counted
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.search_record import Extension
from trainable.run_folder.trial_record import ENDED, INTERRUPTED, PAUSED, STOPPED
from trainable.storage.atomic_write import write_json
from trainable.storage.remote import Remote


def extended_plan(plan: Plan, run: RunFolder, settings: Settings, machine: Machine) -> Plan:
    """Return a run's plan with what the settings add to it; nothing is written.

    Raises:
        ValueError: settings that do not fit, or that add nothing.
    """
    extensions = run.record().extended
    added = given_or(settings.trials, extensions[0].trials if extensions else plan.trials)
    if added < 0:
        raise ValueError(f"--trials with --extend is how many to add, at least 0, found {added}")
    space = given_or(settings.space, plan.space)
    if space in (NONE, GIVEN) and added:
        has = "one config, which" if space == NONE else "the promoted configs, all of which"
        raise ValueError(f"space {space} has {has} run {run.path.name} has; name a --space to draw from")
    names, models, strides = () if space == GIVEN else space_names(space), plan.models, plan.strides
    if settings.encoders is not None and "encoders" not in names:
        raise ValueError(f"--encoders is of the space encoders, found --space {space}; leave it out")
    if "encoders" not in names:
        models = []
    elif settings.encoders is not None or not models:
        models = [list(pair) for pair in pairs(settings.encoders or group_for(machine.gpu_memory_gb))]
        strides = {architecture: list(allowed) for architecture, allowed in STRIDES.items()}
    begun = max((folder.number + 1 for folder in run.begun()), default=0)
    # Trials that go on need the image sizes they have.
    tiles = list(dict.fromkeys([*tile_sizes(plan.config, names), *plan.tile_sizes]))
    offered = sizes_above(tiles, plan.config, image_sizes(plan.config.image_size, names, plan.gpu))
    sizes = list(dict.fromkeys([*offered, *plan.image_sizes]))
    extended = replace(
        plan,
        space=space,
        trials=plan.trials + added,
        start=begun,
        stopper=given_or(settings.stopper, plan.stopper),
        image_sizes=sizes,
        tile_sizes=tiles,
        models=models,
        strides=strides,
        pretrained=plan.config.encoder_weights != "none",
        freeze_shares=list(freeze_shares(plan.config.epochs)),
    )
    check_plan(extended)
    if begun >= extended.trials and all(folder.status().state in ENDED for folder in run.trials()):
        _check_adds(extended, run)
    return extended


def _check_adds(plan: Plan, run: RunFolder) -> None:
    """Refuse what would end before it begins."""
    name, again = run.path.name, stopped(run, plan)
    if plan.stopper == ASHA:
        raise ValueError(f"--trials 0 adds nothing: ASHA stops for good; add trials, or --stopper {FORECAST} or none")
    if not again:
        raise ValueError(f"--trials 0 adds nothing: run {name} has no stopped trial with the state it would go on from")
    if plan.stopper == FORECAST:
        thawing = Thawing(run, plan.config.epochs, plan.trials)
        thawing.load()
        thawing.paused |= set(again)
        if thawing.best_paused()[0] is None:
            chances = thawing.chances()
            best = max(again, key=lambda number: chances[thawing.rows[number]])
            raise ValueError(
                f"--trials 0 adds nothing: no stopped trial of run {name} has a chance of {LEAST_CHANCE:.0%} to end in "
                f"front; best is trial {best}, {thawing.why(best)}. --stopper none trains them all to their end"
            )


def stopped(run: RunFolder, plan: Plan) -> list[int]:
    """Return the stopped trials that can go on: whose last state is there, unless ASHA, which stops for good, decides.

    What is at a URI is not looked for.
    """
    if plan.stopper == ASHA:
        return []
    return [
        folder.number
        for folder in run.trials()
        if folder.status().state == STOPPED and (run.uri or folder.last_state.exists())
    ]


def extend(run: RunFolder, before: Plan, plan: Plan, command: str = "") -> str:
    """Make a run what an extended plan says, at once or not at all; returns what it comes to in a line."""
    from search.preparation.data_setup import commit  # imports PyTorch

    again = stopped(run, plan)
    now = Extension(time.time(), before.trials, tuple(again), command, commit(), before.space, before.stopper)
    content = {
        **run.search(),
        "plan": asdict(plan),
        "weights": fingerprints(plan),
        "extended": [asdict(extension) for extension in (*run.record().extended, now)],
    }
    write_json(run.path / "search.json", content)
    settle(run)
    if run.uri:
        remote = Remote(run.uri)
        for number in again:
            remote.push(run.path, (f"trials/{run.trial(number).path.name}/trial.json",))
        remote.push(run.path, [path.name for path in run.path.glob("*.journal")])
        remote.push(run.path, ("search.json",))
    goes_on = f", {len(again)} of them stopped and able to go on" if again else ""
    there = f"{counted(plan.start, 'trial')} {agrees(plan.start, 'is', 'are')} there"
    return f"extended: {there}{goes_on}; {plan.trials - plan.start} more from {plan.space}"


def settle(run: RunFolder) -> None:
    """Do what the last extension means for trials and study, where a kill came between.

    Its stopped trials may go on, and the study makes room for one in the new space's terms.
    """
    if not (extensions := run.record().extended):
        return
    last, aside = extensions[-1], run.path / f"study-{len(extensions)}.journal"
    if aside.exists():
        return
    state = PAUSED if run.record().stopper == FORECAST else INTERRUPTED
    for number in last.again:
        folder = run.trial(number)
        if (record := folder.status()).state == STOPPED:
            folder.write(replace(record, state=state))
    if run.study.exists():
        run.study.rename(aside)
    else:
        aside.touch()


def extended_at(run: RunFolder) -> float:
    """Return when a run was last extended, in seconds since 1970; 0 for one that never was."""
    extensions = run.record().extended
    return extensions[-1].when if extensions else 0.0
