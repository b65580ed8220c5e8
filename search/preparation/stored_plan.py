"""The plan of a run that goes on: read from its search.json, with places that may have moved."""

from dataclasses import asdict

from search.settings.plan import Plan, check_plan, place, weights_place
from search.settings.settings import Settings
from search.tuning.compatibility import check_comparable
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import DAMAGE
from trainable.storage.remote import Remote

UNMOVED = Settings()
"""Data, further photos, weights and cache are where they were."""


def stored_plan(run: RunFolder, settings: Settings = UNMOVED) -> Plan:
    """Return the plan of a run that is to go on; where data, further photos, weights and cache lie may have changed.

    Raises:
        ValueError: search.json is damaged, or the run's values could not be compared with new ones.
    """
    moved = {name: place(value) for name, value in settings.given(("data", "extra", "cache_dir")).items()}
    check_comparable(run)
    try:
        stored = run.search()["plan"]
        if settings.encoder_weights is not None:
            weights = weights_place(settings.encoder_weights)
            stored = {**stored, "base": {**stored["base"], "encoder_weights": weights}}
        plan = Plan(**{**stored, **moved})
        check_plan(plan)
        plan.describe(run.path.name)
        return plan
    except DAMAGE as error:
        raise ValueError(f"{run.path / 'search.json'} is damaged or of another version: {error!r}") from error


def keep_places(run: RunFolder, plan: Plan) -> None:
    """Note in a run's search.json where data, further photos, weights and cache are found now, for all who read it."""
    content = run.search()
    stored = content["plan"]
    if any(asdict(plan)[name] != stored.get(name) for name in ("data", "extra", "cache_dir", "base")):
        write_json(run.path / "search.json", {**content, "plan": {**stored, **asdict(plan)}})
        if run.uri:
            Remote(run.uri).push(run.path, ("search.json",))
