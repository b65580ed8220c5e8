"""Finds what is wrong with a command before Ray or PyTorch is imported: each of them takes seconds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from search.cluster.auth_token import keep_token
from search.cluster.ray_requirements import check_ray_needs
from search.preparation.encoder_weights_folder import check_weights
from search.run_state.past_usage import read_usage
from search.settings.allocation import Machine, resources
from search.settings.budget import read_budget
from search.settings.plan import Plan
from search.settings.resolve import fold_count, new_plan
from search.settings.settings import LOCAL, Settings, given_or
from search.settings.trackers import check_services
from spaces import own
from spaces.table import unknown_functions
from trainable.classes import Classes
from trainable.config import TrialConfig
from trainable.config_names import check_model_names, check_names
from trainable.counts import counted
from trainable.data_errors import DataError
from trainable.dataset.cache import check_cache_dir, check_room
from trainable.dataset.demo import find_data
from trainable.dataset.extra_photos import Extra
from trainable.dataset.folds import Folds
from trainable.formats.reading import read_data
from trainable.labelled_photos import Dataset
from trainable.machine.cores import cpu_count
from trainable.machine.gpu_devices import GPU_DEVICES, has_gpu
from trainable.model.schedules import build_schedule
from trainable.pipeline.mixing import build_mixing
from trainable.run_folder.folders import RunFolder
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.remote import is_uri
from trainable.storage.remote_data import local_data

Result = TypeVar("Result")

UNKNOWN = (Machine(1_000_000, 0), Machine(1_000_000, 1_000_000, 80.0))
"""A cluster as far as it is known before it is joined: with whatever a command can ask for, without GPUs or with."""

ELSEWHERE = ("data", "extra", "base", "encoder_weights", "cache_dir", "warm_start")
"""Settings of a submitted search that name something on the cluster."""


def validate(settings: Settings, run: RunFolder, stored: Plan | None) -> None:
    """Check a command as far as its settings, the run's folder and this machine tell.

    Args:
        settings: as given.
        run: that begins or goes on.
        stored: the plan of one that goes on.

    Raises:
        ValueError: something that the search would stumble on later.
    """
    address = settings.address
    check_places(Path(stored.cache_dir) if stored else settings.cache_dir)
    check_services(settings.wandb, settings.mlflow)
    check_ray_needs(address, LOCAL)
    plan = _fitting(settings, stored, likely_machines(address, Path("/dev")))
    check_parts(plan.config)
    for config in plan.given_configs():
        check_parts(config)
    for architecture, encoder in plan.models:
        check_model_names(architecture, encoder)
    check_weights(plan, run, moved=settings.encoder_weights is not None and stored is not None)
    if plan.extra and not is_uri(plan.extra):
        Extra.read(Path(plan.extra))


def check_parts(config: TrialConfig) -> None:
    """Check the names in a config, and the values of those parts that are built without PyTorch.

    Raises:
        ValueError: a name is unknown, or a value out of range.
    """
    check_names(config)
    builds = {
        "scheduler": lambda: build_schedule(config.scheduler, config.epochs),
        "mixing": lambda: build_mixing(config.mixing),
    }
    for key, build in builds.items():
        try:
            build()
        except (ValueError, TypeError) as error:
            raise ValueError(f"{key} {getattr(config, key)}: {error}") from error


def check_places(cache_dir: Path | None) -> None:
    """See that this user has places for the cache and for Ray's token, both in the home folder by default.

    Raises:
        ValueError: all that is missing, with what to set.
    """
    faults = []
    for check in (lambda: check_cache_dir(cache_dir or default_cache_dir()), keep_token):
        try:
            check()
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(faults))


def validate_submitted(settings: Settings) -> None:
    """Check a command that runs elsewhere: what of it does not depend on what is there.

    Raises:
        ValueError: the cluster would refuse it, or there is no job server at such an address.
    """
    parts = urlsplit(str(settings.submit))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"--submit takes the address of a job server, such as http://127.0.0.1:8265, found {settings.submit!r}"
        )
    if not settings.given(("resume", "extend", "confirm", "promote")):
        here = replace(settings.without(ELSEWHERE), cache_dir=Path("/"))
        plan = _fitting(here, None, UNKNOWN)
        check_parts(plan.config)


def read_dataset(settings: Settings, run: RunFolder, stored: Plan | None) -> Dataset:
    """Read the annotations of a run's data, which what is at a URI is copied for, and look at what they show at once.

    Raises:
        ValueError: the data is missing or has moved, or there are fewer photos than folds.
        DiskFullError: there is no room to cache them.
    """
    cache_dir = Path(stored.cache_dir) if stored else (settings.cache_dir or default_cache_dir())
    data = stored.data if stored else settings.data
    try:
        classes = stored.classes if stored else Classes.from_file(Path(settings.classes)) if settings.classes else None
        dataset = read_data(find_data(local_data(data, cache_dir) if data else None, cache_dir), classes)
    except DataError as error:
        if stored and stored.data and not is_uri(stored.data) and not Path(stored.data).is_dir():
            raise ValueError(
                f"run {run.path.name} needs its data, and {stored.data} is not there: bring it back, or name its new "
                "place by --data DIR"
            ) from error
        raise
    folds = stored.folds if stored else fold_count(settings)
    if folds == 1 and set(dataset.given.values()) != {"train", "val"}:
        raise ValueError(
            f"--folds given needs data that say which photos train and which validate, and {dataset.root} does not "
            f"({dataset.format}); leave it out"
        )
    if folds > len(dataset.photos):
        raise ValueError(f"--folds {folds} is more than the {counted(len(dataset.photos), 'photo')} of {dataset.root}")

    def has_room(machine: Machine) -> None:
        plan = stored or new_plan(settings, machine, dataset)
        check_room(dataset, plan.image_sizes, Path(plan.cache_dir), plan.skip_bad, plan.frames)

    _first_fitting(likely_machines(settings.address, Path("/dev")), has_room)
    return dataset


def validate_going_on(settings: Settings, run: RunFolder, plan: Plan) -> None:
    """Check a command that goes on with a run by what is in its folder.

    Raises:
        ValueError: a record is missing, a budget is spent, or the settings do not fit the run.
    """
    from search.preparation.extend import extended_at, extended_plan
    from search.session.confirming import begin  # these import SciPy, which a new search need not wait for

    if not run.folds.exists():
        raise ValueError(
            f"{run.folds}, which says which photos validate, is missing: bring it back from a copy of the folder; "
            "without it the run's trials cannot be compared"
        )
    Folds.read(run.folds)
    if settings.resume is not None and settings.space not in (None, plan.space):
        raise ValueError(f"--space is fixed by the run that --resume continues, {plan.space}; leave it out")
    if settings.confirm is None and (missing := unknown_functions(settings.space or plan.space)):
        own.find(missing[0])

    def fits(machine: Machine) -> None:
        share = resources(machine, settings.concurrent, settings.gpus_per_trial)
        if settings.confirm is not None:
            begin(settings, run, plan, share)
            return
        if settings.extend is not None:
            extended_plan(plan, run, settings, machine)
        spent = 0.0 if settings.extend is not None else read_usage(run).total(since=extended_at(run))
        read_budget(settings, share, spent)

    _first_fitting(likely_machines(settings.address, Path("/dev")), fits)


def validate_data(run: RunFolder, plan: Plan, dataset: Dataset) -> None:
    """Check that the data and further photos are those that a run began with. Imports PyTorch, so it comes last.

    Raises:
        ValueError: they have changed.
    """
    from search.preparation.data_setup import check_unchanged

    extra = Extra.read(local_data(plan.extra, Path(plan.cache_dir))) if plan.extra else None
    check_unchanged(run, dataset, extra)


def likely_machines(address: str, devices: Path) -> tuple[Machine, ...]:
    """Return what the search may find to run on, the likeliest first.

    Args:
        address: of the cluster, or `local`.
        devices: the folder of this machine's devices.
    """
    if address != LOCAL:
        return UNKNOWN
    cores = cpu_count()
    plain = Machine(cores, 0)
    if not has_gpu(devices):
        return (plain,)
    # Ray counts the GPUs that the driver lets it see: at most these.
    count = max(len(list(devices.glob(GPU_DEVICES[0]))), 1)
    return Machine(cores, count, 80.0), plain


def _fitting(settings: Settings, stored: Plan | None, machines: tuple[Machine, ...]) -> Plan:
    """Return the plan on the first machine that the settings fit."""

    def plan(machine: Machine) -> Plan:
        share = resources(machine, settings.concurrent, settings.gpus_per_trial)
        if machines != UNKNOWN and given_or(settings.gpus, 0) > machine.gpus:
            raise ValueError(f"--gpus {settings.gpus} is more than the {counted(machine.gpus, 'GPU')} of this machine")
        if stored:
            return stored
        read_budget(settings, share, 0.0)
        return new_plan(settings, machine)

    return _first_fitting(machines, plan)


def _first_fitting(machines: tuple[Machine, ...], fit: Callable[[Machine], Result]) -> Result:
    """Return what a function gives of the first machine that it does not refuse; raise what it says of the first."""
    refused: list[ValueError] = []
    for machine in machines:
        try:
            return fit(machine)
        except ValueError as error:
            refused.append(error)
    raise refused[0]
