"""What a search will do, resolved from the command line, the device and the data; stored in search.json."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from search.machine import Machine, default_options
from spaces.table import find_space
from trainable.artifacts import RunFolder
from trainable.cache import default_cache_dir
from trainable.config import TrialConfig

SMOKE = {"trials": 4, "epochs": 4, "image_size": 64}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides a search's course but the machine it runs on."""

    space: str
    data: str | None  # absolute; None is the demo data
    cache_dir: str  # absolute
    skip_bad: bool
    trials: int
    grace: int  # epochs
    reduction: int
    folds: int
    base: dict[str, Any]  # the TrialConfig of what the space leaves out

    @property
    def config(self) -> TrialConfig:
        """The config of a trial for which the space decides nothing."""
        return TrialConfig.from_dict(self.base)

    def describe(self, name: str) -> str:
        """Return what the run does, in two lines."""
        config = self.config
        return (
            f"run {name}: space {self.space}, {self.trials} trials of at most {config.epochs} epochs; "
            f"ASHA may stop one from epoch {self.grace} on\n"
            f"{config.architecture} + {config.encoder} (weights: {config.encoder_weights}), {config.image_size} px, "
            f"fold {config.fold} of {self.folds}"
        )


def new_plan(options: dict[str, Any], machine: Machine) -> Plan:
    """Resolve the options of a new search; whether the model can be built is left to a worker to try.

    Raises:
        ValueError: a value out of range.
    """
    demo = "data" not in options
    defaults = default_options(machine, demo)
    if "architecture" in options or "encoder" in options:
        defaults["decoder"] = {}  # the narrow decoder is for the small default encoder
    if options.get("smoke"):
        defaults |= SMOKE
    chosen = {**defaults, "seed": 0, "fold": 0, **options}
    if chosen["encoder_weights"] not in ("none", "imagenet"):
        chosen["encoder_weights"] = str(Path(chosen["encoder_weights"]).resolve())
    names = (
        "seed", "fold", "epochs", "image_size", "batch_size", "architecture", "encoder", "encoder_weights", "decoder",
        "workers",
    )  # fmt: skip
    config = TrialConfig.from_dict({name: chosen[name] for name in names})
    plan = Plan(
        space=chosen.get("space", "losses"),
        data=None if demo else str(chosen["data"].resolve()),
        cache_dir=str(chosen.get("cache_dir", default_cache_dir()).absolute()),
        skip_bad=chosen.get("skip_bad", False),
        trials=chosen["trials"],
        grace=chosen.get("grace", min(max(config.epochs // 4, 1), 10)),
        reduction=chosen.get("reduction", 3),
        folds=chosen.get("folds", 5),
        base=config.to_dict(),
    )
    _check(plan)
    return plan


def has_default_model(plan: Plan, machine: Machine) -> bool:
    """Tell whether the model is the machine's default, which needs no check."""
    defaults = default_options(machine, plan.data is None)
    names = ("architecture", "encoder", "encoder_weights", "decoder", "image_size")
    return all(plan.base[name] == defaults[name] for name in names)


def stored_plan(run: RunFolder, options: dict[str, Any]) -> Plan:
    """Return the plan of a run that is to go on; where data and cache lie may have changed."""
    moved = {name: str(options[name].resolve()) for name in ("data", "cache_dir") if name in options}
    try:
        return Plan(**{**run.search()["plan"], **moved})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run.path / 'search.json'} is damaged or of another version: {error!r}") from error


def run_folder(options: dict[str, Any]) -> RunFolder:
    """Return the folder of the run, new or to be resumed.

    Raises:
        ValueError: a new run's name is taken or not a plain name, or there is nothing to resume.
    """
    root = options.get("runs_dir", Path("runs")).absolute()
    if "resume" in options:
        run = RunFolder(root / options["resume"])
        if not (run.path / "search.json").exists():
            known = ", ".join(sorted(path.parent.name for path in root.glob("*/search.json"))) or "none"
            raise ValueError(f"no run {options['resume']} in {root}; the runs there are: {known}")
        return run
    name = options.get("name") or f"{options.get('space', 'losses')}-{datetime.now():%Y%m%d-%H%M%S}"
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"--name must be a plain folder name, found {name!r}")
    if (root / name).exists():
        raise ValueError(f"run {name} exists in {root}; choose another --name, or go on with it by --resume {name}")
    return RunFolder(root / name)


def _check(plan: Plan) -> None:
    find_space(plan.space)
    for name, value, low in (("trials", plan.trials, 1), ("reduction", plan.reduction, 2), ("folds", plan.folds, 2)):
        if value < low:
            raise ValueError(f"--{name} must be at least {low}, found {value}")
    if not 1 <= plan.grace <= plan.config.epochs:
        raise ValueError(f"--grace must be 1 to the {plan.config.epochs} epochs of the budget, found {plan.grace}")
    if plan.config.fold >= plan.folds:
        raise ValueError(f"--fold must be 0 to {plan.folds - 1} with --folds {plan.folds}, found {plan.config.fold}")
