"""The augmentations: a base pipeline, single operations on top, mixing with other photos, and the image size."""

from typing import Any

import optuna

PIPELINES = ("none", "light", "reference", "heavy")

# Strength of each single operation: parameter, lowest, highest. Single operations added 0.001 (blur) to 0.048 (crops)
# to val_miou for the boostcamp AI Tech 2 cv-18 team, with 24 epochs.
STRENGTHS: dict[str, tuple[str, float, float]] = {
    "random_resized_crop": ("smallest", 0.2, 0.8),  # share of the area
    "multi_scale": ("low", 0.4, 0.9),  # smallest scale; the largest is 1.5
    "elastic": ("strength", 0.05, 0.3),  # about twice the largest shift, as a share of the side
    "grid_distortion": ("limit", 0.1, 0.5),  # share of a cell
    "grid_dropout": ("ratio", 0.2, 0.6),  # side of a hole as a share of a cell
    "grid_shuffle": ("cells", 2, 4),  # per side
    "blur": ("sigma", 0.5, 3.0),  # pixels
    "colour": ("strength", 0.1, 0.5),  # relative
    "clahe": ("clip", 1.5, 6.0),  # limit of the contrast; 4 is OpenCV's
}


def augmentations(
    trial: optuna.Trial, sizes: tuple[int, ...], tiles: tuple[int, ...] = (), sides: bool = False
) -> dict[str, Any]:
    """Sample a base pipeline, operations on top of it, mixing, and one of the run's image sizes.

    Args:
        trial: to draw by.
        sizes: pixels of a photo's longer side.
        tiles: pixels per side of the crops that train; none where whole photos do.
        sides: whether some classes are others in a mirror, so that flips may cost more than they bring.
    """
    operations = [_operation(trial, name) for name in STRENGTHS if trial.suggest_categorical(name, (False, True))]
    mixing = [mix(trial) for mix in (_copy_paste, _mosaic, _cutmix)]
    pipeline: dict[str, Any] = {"name": trial.suggest_categorical("augmentation", PIPELINES)}
    if sides and pipeline["name"] != "none":
        # With flips, labels of left and right change places; without, each side is learnt from its own photos.
        pipeline["flips"] = trial.suggest_categorical("flips", (True, False))
    return {
        "augmentation": pipeline,
        "operations": operations,
        "mixing": [choice for choice in mixing if choice],
        "image_size": trial.suggest_categorical("image_size", sizes),
        **({"tile_size": trial.suggest_categorical("tile_size", tiles)} if tiles else {}),
    }


def _operation(trial: optuna.Trial, name: str) -> dict[str, Any]:
    parameter, low, high = STRENGTHS[name]
    # chance that a photo gets it
    p = trial.suggest_float(f"{name}_p", 0.1, 0.6)
    if isinstance(low, int) and isinstance(high, int):
        return {"name": name, "p": p, parameter: trial.suggest_int(f"{name}_{parameter}", low, high)}
    return {"name": name, "p": p, parameter: trial.suggest_float(f"{name}_{parameter}", low, high)}


def _copy_paste(trial: optuna.Trial) -> dict[str, Any] | None:
    if not trial.suggest_categorical("copy_paste", (False, True)):
        return None
    return {
        "name": "copy_paste",
        # chance; always in Ghiasi et al. 2021, on 64 times the photos
        "p": trial.suggest_float("copy_paste_p", 0.1, 0.8),
        # objects at most
        "most": trial.suggest_int("copy_paste_most", 1, 6),
        # smallest and largest scale; 0.1 and 2 in the paper, on photos twice as large
        "low": trial.suggest_float("copy_paste_low", 0.3, 1.0),
        "high": trial.suggest_float("copy_paste_high", 1.0, 2.0),
        "resize": trial.suggest_categorical("copy_paste_resize", ("jitter", "small_to_large", "large_to_small")),
    }


def _mosaic(trial: optuna.Trial) -> dict[str, Any] | None:
    if not trial.suggest_categorical("mosaic", (False, True)):
        return None
    # chance, and how far the common corner may lie from the middle, as a share of the side
    p, spread = trial.suggest_float("mosaic_p", 0.1, 0.6), trial.suggest_float("mosaic_spread", 0.0, 0.3)
    return {"name": "mosaic", "p": p, "spread": spread}


def _cutmix(trial: optuna.Trial) -> dict[str, Any] | None:
    if not trial.suggest_categorical("cutmix", (False, True)):
        return None
    # chance, and the largest rectangle as a share of the photo
    p, area = trial.suggest_float("cutmix_p", 0.1, 0.6), trial.suggest_float("cutmix_area", 0.1, 0.6)
    return {"name": "cutmix", "p": p, "area": area}


NOTHING = dict.fromkeys((*STRENGTHS, "copy_paste", "mosaic", "cutmix"), False)

REFERENCE: dict[str, Any] = {"augmentation": "reference", **NOTHING}

FIRST_TRIALS: tuple[dict[str, Any], ...] = (
    # the reference recipe: its pipeline
    REFERENCE,
    # what helped the boostcamp AI Tech 2 cv-18 team most
    {**REFERENCE, "random_resized_crop": True, "random_resized_crop_p": 0.5, "random_resized_crop_smallest": 0.4},
    # copy-paste with large-scale jitter, as the reference has it
    {
        **REFERENCE, "copy_paste": True, "copy_paste_p": 0.5, "copy_paste_most": 4, "copy_paste_low": 0.5,
        "copy_paste_high": 1.5, "copy_paste_resize": "jitter",
    },
)  # fmt: skip
"""At the run's own image size."""

BEST: dict[str, Any] = {
    **REFERENCE, "elastic": True, "elastic_p": 0.115, "elastic_strength": 0.08, "grid_dropout": True,
    "grid_dropout_p": 0.11, "grid_dropout_ratio": 0.23, "colour": True, "colour_p": 0.6, "colour_strength": 0.13,
}  # fmt: skip
"""docs/results.md has the run."""
