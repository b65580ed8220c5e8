"""How often an epoch shows rare classes, and by which means.

Epochs keep their length, see `trainable/pipeline/oversampling.py`.
"""

from typing import Any

import optuna

OVERSAMPLING = ("none", "repeat_factor", "class_balanced", "paste")


def oversampling(trial: optuna.Trial, background: bool = True) -> dict[str, Any]:
    """Sample a kind of oversampling and the parameters it has.

    Args:
        trial: to draw by.
        background: whether the data has a class of what nothing covers, to paste on.
    """
    name = trial.suggest_categorical("oversampling", OVERSAMPLING)
    choice: dict[str, Any] = {"name": name}
    if name != "none":
        # rare draws for each ordinary one; the reference adds about a tenth of the photos, for one class
        choice["ratio"] = trial.suggest_float("oversampling_ratio", 0.1, 2.0, log=True)
    if name == "repeat_factor":
        # share of the photos below which a class is rare; 0.001 in LVIS with its 1,203 classes, here 10 classes are
        # each on 0.6% to 57% of the competition's photos
        choice["threshold"] = trial.suggest_float("rare_threshold", 0.02, 0.5, log=True)
    if name == "paste":
        # classes that count as rare: Battery alone in the reference, 5 in the boostcamp AI Tech 2 cv-05 team's
        choice["rare"] = trial.suggest_int("rare_classes", 1, 6)
        # smallest and largest patch, as shares of the photo it comes from: 0.02% are 13 pixels of a photo of 256 px
        choice["min_area"] = trial.suggest_float("paste_min_area", 2e-4, 2e-3, log=True)
        choice["max_area"] = trial.suggest_float("paste_max_area", 0.05, 0.5, log=True)
        choice["backgrounds"] = trial.suggest_categorical(
            "paste_backgrounds", ("any", "plain") if background else ("any",)
        )
    return {"oversampling": choice}


FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: patches of the rarest classes on other photos, a tenth of the epoch
    {
        "oversampling": "paste", "oversampling_ratio": 0.1, "rare_classes": 1, "paste_min_area": 1e-3,
        "paste_max_area": 0.3, "paste_backgrounds": "any",
    },
    {"oversampling": "none"},
)  # fmt: skip

BEST: dict[str, Any] = {"oversampling": "repeat_factor", "oversampling_ratio": 0.48, "rare_threshold": 0.23}
"""docs/results.md has the run."""
