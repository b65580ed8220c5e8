"""The models of one config on several folds, as `search/run.py --confirm` leaves them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trainable.artifacts import BROKEN, FINISHED, RUNNING, TrialFolder


def fold_models(trial: TrialFolder) -> dict[int, TrialFolder]:
    """Return the folders of a trial's config by the fold that validates.

    The trial's own, unless it is running or broken, and the further folds that had their full budget; a further
    training of the trial's own fold takes its place, for then the trial had been stopped.
    """
    own = {trial.config()["fold"]: trial} if trial.status()["state"] not in (RUNNING, *BROKEN) else {}
    further = {int(each.path.name): each for each in trial.further_folds() if each.status()["state"] == FINISHED}
    return dict(sorted((own | further).items()))


def pooled_confusion(models: Mapping[int, TrialFolder], size: str = "at_256") -> tuple[list[str], NDArray[np.int32]]:
    """Return the validation photos of all folds and their confusion matrices (N, C, C), each by the model it validated.

    Args:
        models: by fold, see `fold_models`.
        size: `at_256` or `full`.
    """
    parts = [folder.confusion() for folder in models.values()]
    names = [str(name) for part in parts for name in part["file_names"]]
    return names, np.concatenate([part[size] for part in parts])
