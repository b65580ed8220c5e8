"""Searches from Python; `search/run.py` runs them by the same function.

    from search.api import search

    run = search(space="losses", data="photos", trials=12, until="30m")
    run = search(space=lambda trial: {"loss": {"name": trial.suggest_categorical("loss", ["dice", "lovasz"])}})

Names and meanings are those of the options of `search/run.py`; see `search/settings/settings.py` for all of them. What
a run has found is read by `analysis/api.py`. Import this before Ray, which reads its environment when it is imported.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from search.session.command import Command, carry_out
from search.settings.settings import Settings
from search.settings.settings_checks import check_settings, with_functions
from spaces import own
from trainable.run_folder.folders import RunFolder
from trainable.spelling import did_you_mean


class SearchEndedError(RuntimeError):
    """A search ended before its trials did, and not by its budget; `search(resume=run.path.name)` goes on.

    Attributes:
        status: what the command would exit with, see docs/reliability.md.
        run: its folder, None where nothing was begun.
    """

    def __init__(self, status: int, run: RunFolder | None):
        super().__init__(f"the search ended with status {status}; what it printed says why")
        self.status, self.run = status, run


def search(settings: Settings | None = None, *, space: own.Sample | str | None = None, **given: Any) -> RunFolder:
    """Run a search, go on with one, race its finalists or promote its best, and return the run's folder.

    It prints what the command prints, and returns when the trials have ended or the budget is spent. Ctrl-C, or a
    notebook's stop, saves the running trials first.

    Args:
        settings: what is asked for; or nothing, and the same as keywords.
        space: a name such as `losses+optimizers`, or a function of an Optuna trial that returns parts of a trial's
            config, see `spaces/own.py`.
        given: further settings, in place of those in `settings`.

    Raises:
        ValueError: what is asked for cannot be done; nothing was trained.
        OSError: a file that is missing or cannot be written.
        TypeError: a keyword that is no setting; it names the nearest one.
        SearchEndedError: the search was ended from outside, or every trial failed.
    """
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise TypeError(f"search() has no setting {name!r}{did_you_mean(name, known)}")
    if space is not None:
        given["space"] = space if isinstance(space, str) else own.register(space)
    for name in ("data", "extra", "base", "cache_dir", "runs_dir"):
        if isinstance(given.get(name), str) and "://" not in given[name]:
            given[name] = Path(given[name])
    for name in ("warm_start", "include"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    merged = with_functions(replace(settings or Settings(), **given))
    check_settings(merged)
    if merged.space and merged.space.startswith(f"{own.PYTHON}:") and (merged.to or merged.submit):
        raise ValueError("phases and jobs are commands of their own: put the function of the space into a file")
    command = Command(merged)
    status = carry_out(command)
    if status or command.run is None:
        raise SearchEndedError(status, command.run)
    return command.run
