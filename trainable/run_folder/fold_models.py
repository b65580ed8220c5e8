"""The models of one config on several folds, as `search/run.py --confirm` leaves them."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from trainable.metric.bootstrap import Tallies, tallies
from trainable.metric.noise import Cell
from trainable.metric.paired_comparison import Results, Standing, standings
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.trial_record import BROKEN, FINISHED, RUNNING


def fold_models(trial: TrialFolder) -> dict[int, TrialFolder]:
    """Return the folders of a trial's config by the fold that validates.

    The trial's own, unless it is running or broken, and the further folds that had their full budget; a further
    training of the trial's own fold takes its place, for then the trial had been stopped. Trainings with other seeds
    only tell configs apart: each photo is predicted once.
    """
    own = {trial.config()["fold"]: trial} if trial.status().state not in (RUNNING, *BROKEN) else {}
    further = {
        folder.fold_and_seed[0]: folder
        for folder in trial.further_folds()
        if not folder.repeats and folder.status().state == FINISHED
    }
    return dict(sorted((own | further).items()))


def trainings(trial: TrialFolder) -> dict[Cell, TrialFolder]:
    """Return the folders of all trainings of a trial's config that had their full budget, by fold and seed.

    A seed is counted from the config's own, which is 0.
    """
    config = trial.config()
    folders = {(config["fold"], 0): trial} if trial.status().state == FINISHED else {}
    for folder in trial.further_folds():
        if folder.status().state == FINISHED:
            fold, seed = folder.fold_and_seed
            folders[fold, 0 if seed is None else seed - config["seed"]] = folder
    return folders


def matrices_of(folder: TrialFolder) -> NDArray[np.int32]:
    """Return a training's confusion matrices (N, C, C) as the competition scores, photos by name."""
    confusion = folder.confusion()
    matrices: NDArray[np.int32] = confusion["scored"][np.argsort(confusion["file_names"])]
    return matrices


def tallies_of(folder: TrialFolder) -> Tallies:
    """Return what of a training is compared, photos by name."""
    return tallies(matrices_of(folder))


def last_standing(results: Results, own: Collection[int]) -> Standing | None:
    """Return how configs stand after the last rung of their race, None where they cannot be compared.

    Args:
        results: of each config that was trained on more than one fold.
        own: the folds that their trials validated on, which come last in the race.
    """
    cells = {cell for by_cell in results.values() for cell in by_cell}
    rungs = sorted(cells, key=lambda cell: (cell[1], cell[0] in own, cell[0]))  # as in the race
    racing = {number: by_cell for number, by_cell in results.items() if rungs and rungs[0] in by_cell}
    stood = standings(racing, rungs) if len(racing) > 1 else []
    return stood[-1] if stood else None


def broken(trial: TrialFolder) -> bool:
    """Tell whether a further training of a trial's config has failed."""
    return any(folder.status().state in BROKEN for folder in trial.further_folds())


def pooled_confusion(models: Mapping[int, TrialFolder], size: str = "scored") -> tuple[list[str], NDArray[np.int32]]:
    """Return the validation photos of all folds and their confusion matrices (N, C, C), each by the model it validated.

    Args:
        models: by fold, see `fold_models`.
        size: `scored` or `full`.
    """
    parts = [folder.confusion() for folder in models.values()]
    names = [str(name) for part in parts for name in part["file_names"]]
    return names, np.concatenate([part[size] for part in parts])
