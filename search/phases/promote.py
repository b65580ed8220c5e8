"""Gives the best configs of a run a larger budget: python search/run.py --promote NAME --epochs 48.

That is a run of its own, with the same data and folds: each config trains anew, with a schedule over the larger budget,
and where asked at another image size. What leads after 12 epochs does not lead after 48 for sure, and configs that are
slow and regularised gain most: so several go on, and forecasts decide between them (docs/budgets.md).
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna

from search.preparation.stored_plan import stored_plan
from search.racing.candidates import find_finalists
from search.run_state.run_location import earlier_run_folder
from search.settings.plan import Plan, place, weights_place
from search.settings.settings import Promoted, Settings, given_or, whole
from spaces.table import GIVEN, space_names
from spaces.variants import variant
from trainable.dataset.folds import Folds
from trainable.run_folder.folders import RunFolder

LONGER = 4
"""Times the epochs of the run, where --epochs does not say otherwise: 12 become 48."""

OF_RUN = (
    "seed",
    "fold",
    "epochs",
    "encoder_weights",
    "device",
    "precision",
    "memory_format",
    "compile",
    "threads",
    "workers",
    "accumulation",
)
"""Of a config, what the run, the machine or the photos decide, and no promoted config brings along."""


def promotion(settings: Settings) -> Settings:
    """Return the settings of a run that promotes configs of another: as given, with what that one has fixed.

    Raises:
        ValueError: there is no such run, it has too few trials, or an option does not fit.
    """
    earlier = earlier_run_folder(settings, settings.promote or "")
    stored = stored_plan(earlier, Settings(**settings.given(("data", "cache_dir"))))
    plan = promoted_plan(stored, earlier, settings)
    return replace(
        settings,
        promoted=Promoted(plan, Folds.read(earlier.folds)),
        data=plan.data,
        extra=plan.extra,
        skip_bad=plan.skip_bad,
        folds=plan.folds,
        cache_dir=Path(plan.cache_dir),
    )


def promoted_plan(plan: Plan, earlier: RunFolder, settings: Settings) -> Plan:
    """Return the plan of a run that trains the best configs of an earlier one for longer.

    Args:
        plan: of the earlier run.
        earlier: that run.
        settings: as given.

    Raises:
        ValueError: fewer epochs than before, no such fold, or trials that are not there.
    """
    before, config = plan.config.epochs, plan.config
    epochs = given_or(settings.epochs, LONGER * before)
    if epochs < before:
        raise ValueError(
            f"--epochs with --promote must be at least the {before} of run {earlier.path.name}, found {epochs}"
        )
    fold = given_or(settings.fold, config.fold)
    if not 0 <= fold < plan.folds:
        raise ValueError(f"--fold must be 0 to {plan.folds - 1}, the folds of run {earlier.path.name}, found {fold}")
    numbers = find_finalists(earlier, plan, settings.top, plan.folds, settings.include)
    configs = {
        f"{earlier.path.name}:{number}": _parts(earlier, number, whole(settings.image_size)) for number in numbers
    }
    configs |= _variants(configs, given_or(settings.vary, 0), plan, config.seed)
    size = given_or(whole(settings.image_size), config.image_size)
    weights = settings.encoder_weights
    base = replace(
        config,
        epochs=epochs,
        fold=fold,
        image_size=size,
        encoder_weights=weights_place(weights) if weights else config.encoder_weights,
    )
    return replace(
        plan,
        space=GIVEN,
        given=configs,
        trials=len(configs),
        base=asdict(base),
        models=[],
        start=0,
        image_sizes=list(dict.fromkeys([size, *(parts["image_size"] for parts in configs.values())])),
        extra=place(settings.extra) if settings.extra is not None else plan.extra,
        stopper=given_or(settings.stopper, plan.stopper),
        grace=min(max(epochs // 4, 1), 10),
        keep_gb=settings.keep_gb,
        pretrained=base.encoder_weights != "none",
    )


def _variants(configs: dict[str, dict[str, Any]], count: int, plan: Plan, seed: int) -> dict[str, dict[str, Any]]:
    """Return so many variants of configs, of each in turn, under its name with ~1, ~2 and so on."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    names = () if plan.space == GIVEN else space_names(plan.space)
    variants = {}
    for number in range(count):
        name = list(configs)[number % len(configs)]
        variants[f"{name}~{number // len(configs) + 1}"] = variant(
            study.ask(), configs[name], names, plan.classes.background, bool(plan.classes.mirror)
        )
    return variants


def _parts(run: RunFolder, number: int, image_size: int | None) -> dict[str, Any]:
    """Return what of a trial's config is its own, at another image size if one is asked for."""
    config = run.trial(number).config()
    parts = {name: value for name, value in config.items() if name not in OF_RUN}
    return {**parts, "image_size": image_size or config["image_size"]}
