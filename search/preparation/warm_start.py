"""Takes the trials of earlier searches as priors of a new one: python search/run.py --warm-start RUN [RUN ...]."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray

from search.preparation.data_setup import Prepared
from search.settings.plan import Plan
from search.tuning.compatibility import check_comparable
from search.tuning.config_to_params import express
from search.tuning.curve_extrapolation import forecast_ends
from search.tuning.priors import FIRST, Prior, Priors
from search.worker.build_checks import spell_out
from spaces.table import Space, find_space
from trainable.classes import METRIC
from trainable.counts import agrees, counted
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import BROKEN
from trainable.storage.record_checks import DAMAGE

Spell = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

MACHINE = ("seed", "device", "precision", "memory_format", "compile", "threads", "workers", "accumulation")
"""Of a config, what moves its values by no more than chance does."""


def in_worker(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Have a worker spell configs out."""
    spelled: list[dict[str, Any]] = ray.get(ray.remote(spell_out).remote(configs))
    return spelled


def warm_start(
    runs: Sequence[RunFolder], plan: Plan, prepared: Prepared, spell: Spell = in_worker
) -> tuple[Priors, list[str]]:
    """Return the priors of a new search, and what was taken of each run in a line.

    Args:
        runs: of earlier searches.
        plan: of the new one.
        prepared: its data.
        spell: gives configs the defaults of their parts.

    Raises:
        ValueError: a run's values cannot be compared, or it has no trial with anything in common with the new space.
    """
    space, priors, lines = find_space(plan.space, plan.scope), [], []
    data = {
        "data_hash": prepared.dataset.json_hash,
        "folds_hash": prepared.folds.hash,
        "extra": prepared.extra.record() if prepared.extra else None,
    }
    for run in runs:
        check_comparable(run, plan.classes.names, plan.frames)
        run_priors = collect_priors(run, plan, space, data, spell)
        if not run_priors:
            raise ValueError(
                f"--warm-start: run {run.path.name} has no trial that ended an epoch and has a value of the space "
                f"{plan.space}; leave it out, or search a space that has something in common with it"
            )
        lines.append(describe(run, run_priors, plan))
        priors += run_priors
    first = best_first(priors)
    names = ", ".join(f"{priors[position].number} of {priors[position].run}" for position in first)
    lines.append(f"tried first: trials {names}" if names else "none is tried first: the space can say none in full")
    return Priors(priors, first, plan.config.epochs), lines


def collect_priors(run: RunFolder, plan: Plan, space: Space, data: dict[str, Any], spell: Spell) -> list[Prior]:
    """Return what a run's sound trials say of a plan's space; those that cannot be read are left out."""
    search = run.search()
    same_data = all(search.get(name) == value for name, value in data.items())
    budget, base, sound, priors = SearchRecord.of(search).epochs, plan.base, [], []
    for folder in run.trials():
        with contextlib.suppress(*DAMAGE):
            if folder.status().state not in BROKEN and (rows := folder.curve()):
                sound.append((folder, folder.config(), folder.params(), [float(row[METRIC]) for row in rows]))
    spelled = spell([config for _, config, _, _ in sound])
    for (folder, config, params, curve), full in zip(sound, spelled, strict=True):
        expressed = express(space, config, params, full)
        if not expressed.params:
            continue
        alike = all(
            config.get(name) == value
            for name, value in base.items()
            if name not in expressed.decided and name not in MACHINE
        )
        priors.append(
            Prior(
                run=run.path.name,
                number=folder.number,
                params=expressed.params,
                exact=expressed.exact,
                curve=curve,
                epochs=budget,
                end=0.0,
                same=same_data and alike,
            )
        )
    return with_ends(priors)


def with_ends(priors: list[Prior]) -> list[Prior]:
    """Return a run's priors with what each has come to, or is forecast to come to by the others' curves."""
    if not priors:
        return []
    curves = np.full((len(priors), priors[0].epochs), np.nan)
    for row, prior in zip(curves, priors, strict=True):
        row[: len(prior.curve)] = prior.curve
    ends = forecast_ends(curves, np.array([len(prior.curve) for prior in priors])).best
    return [Prior(**{**vars(prior), "end": float(end)}) for prior, end in zip(priors, ends, strict=True)]


def best_first(priors: Sequence[Prior]) -> list[int]:
    """Return the positions of the best configs that the space can say, each run's best, then each second best, ..."""
    counts: Counter[str] = Counter()
    ranked, distinct = [], []
    for position in sorted(range(len(priors)), key=lambda index: (-priors[index].end, index)):
        prior = priors[position]
        alike = {name: f"{value:.2e}" if isinstance(value, float) else value for name, value in prior.params.items()}
        if prior.exact and alike not in distinct:
            distinct.append(alike)
            ranked.append((counts[prior.run], position))
            counts[prior.run] += 1
    return [position for _, position in sorted(ranked, key=lambda entry: entry[0])][:FIRST]


def describe(run: RunFolder, priors: Sequence[Prior], plan: Plan) -> str:
    """Say in a line what was taken of a run."""
    whole = sum(prior.whole and prior.epochs == plan.config.epochs for prior in priors)
    exact, same = (sum(getattr(prior, name) for prior in priors) for name in ("exact", "same"))
    of_all = f"{len(priors)} of {counted(len(run.trials()), 'trial')}"
    trials = f"{of_all} for the sampler ({exact} with all {agrees(exact, 'its', 'their')} values)"
    budget = counted(priors[0].epochs, "epoch")
    curves = f"{counted(whole, 'whole curve')} for forecasts" if whole else f"no curves, their budget is {budget}"
    scale = "values as they are" if same == len(priors) else "values by the ratio to those of the configs tried first"
    if 0 < same < len(priors):
        scale += f" for {len(priors) - same} of them"
    return f"warm start from {run.path.name}: {trials}, {curves}; {scale}"
