"""What is wrong with settings by themselves, before a machine, a run or data is looked at."""

import math
from dataclasses import replace

from search.settings.allocation import AUTO
from search.settings.budget import check_budget
from search.settings.phase_names import ORDER
from search.settings.plan import GIVEN_FOLDS
from search.settings.settings import GOES_ON, Settings, option
from spaces import own
from spaces.table import space_names

FIXED_BY_RUN = (
    "space", "name", "skip_bad", "folds", "classes", "score_size", "fold", "trials", "epochs", "grace", "reduction",
    "seed", "architecture", "encoder", "encoder_weights", "image_size", "tile_size", "batch_size", "smoke", "base",
    "encoders", "precision", "compile", "keep_gb", "stopper", "warm_start",
)  # fmt: skip
"""Options that a resumed run keeps: another value would make its trials incomparable."""

FREE: dict[str, tuple[str, ...]] = {
    "resume": ("encoder_weights",), "extend": ("space", "encoders", "trials", "stopper", "encoder_weights"),
    "confirm": ("folds", "encoder_weights"),
    "promote": ("name", "epochs", "fold", "image_size", "stopper", "encoder_weights", "keep_gb"),
}  # fmt: skip
"""Of what a run has fixed, what these may change."""

LOWEST = {
    "trials": 1, "epochs": 1, "grace": 1, "reduction": 2, "seed": 0, "folds": 2, "fold": 0, "image_size": 32,
    "tile_size": 32, "batch_size": 1, "gpus": 1, "concurrent": 1, "top": 1, "include": 0, "seeds": 1, "vary": 0,
}  # fmt: skip
"""The smallest value of each option that is a whole number."""

HIGHEST = {"seed": 2**32 - 1}
"""The largest, where that is none of the run's, the data's or the machine's."""

OF_CONFIRM = ("top", "include", "seeds", "no_race")
"""Options that only finalists have; those that are promoted have the first two."""


def with_functions(settings: Settings) -> Settings:
    """Return settings whose space names each function of the user's own by its whole path; they are imported now.

    Raises:
        ValueError: there is no such function, or its file cannot be imported.
    """
    if settings.space is None or not own.is_own(settings.space):
        return settings
    names = settings.space.split("+")
    loaded = [own.load(name) if own.is_own(name) and not own.is_known(name) else name for name in names]
    return replace(settings, space="+".join(loaded))


def check_settings(settings: Settings) -> None:
    """Check settings by themselves.

    Raises:
        ValueError: an unknown space, a budget or a number that is none, one setting without another, or one that the
            run which it is to go on with has fixed.
    """
    _check_given(settings)
    if settings.space is not None:
        space_names(settings.space)
    check_budget(settings)
    earlier = list(settings.given((*GOES_ON, "promote")))
    if len(earlier) > 1:
        meanings = "--resume goes on with a search, --extend adds to it, --confirm goes on with its finalists"
        raise ValueError(f"{meanings}, --promote begins a run of its best configs; pass one of them")
    if earlier:
        _check_fixed(settings, earlier[0])
    of_confirm = OF_CONFIRM[2:] if settings.promote is not None else OF_CONFIRM
    if isinstance(settings.folds, str) and settings.folds != GIVEN_FOLDS:
        raise ValueError(f"--folds is a whole number, or {GIVEN_FOLDS}: the data's own split; found {settings.folds!r}")
    if earlier and isinstance(settings.folds, str):
        raise ValueError(f"--folds with --confirm is how many of the run's to train on, found {settings.folds!r}")
    if earlier and isinstance(settings.image_size, str):
        raise ValueError(
            f"--image-size with --promote is pixels of the longer side, as the run fixes the aspect; found "
            f"{settings.image_size!r}"
        )
    if settings.confirm is None and (alone := list(settings.given(of_confirm))):
        raise ValueError(f"{option(alone[0])} belongs to --confirm NAME; add that, or leave it out")
    if settings.vary is not None and settings.promote is None:
        raise ValueError("--vary belongs to --promote NAME; add that, or leave it out")
    if settings.pseudo_labels and settings.to in (None, ORDER[0]):
        raise ValueError(f"--pseudo-labels belongs to --to, which goes on after the search; add --to {ORDER[-2]}, say")
    _check_ranges(settings)


def _check_given(settings: Settings) -> None:
    """Refuse empty values, which a variable that a shell does not have leaves."""
    for name, value in settings.given().items():
        if "" in (value if isinstance(value, tuple) else [value]):
            raise ValueError(f"{option(name)} must not be empty, found ''; give it a value, or leave it out")


def _check_ranges(settings: Settings) -> None:
    """Refuse numbers that no run, no data and no machine would make sense of."""
    lowest = {
        **LOWEST,
        **({"trials": 0} if settings.extend is not None else {}),
        **({"top": 0} if settings.include else {}),
    }
    for name, given in settings.given(lowest).items():
        low = lowest[name]
        for value in given if isinstance(given, tuple) else [given]:
            if isinstance(value, str):  # a word that stands for it, or another way to say it
                continue
            high = HIGHEST.get(name, value)
            if not low <= value <= high:
                limits = f"{low} to {high}" if name in HIGHEST else f"at least {low}"
                rest = "; 0 goes with --include N, for these trials alone" if name == "top" else ""
                raise ValueError(f"{option(name)} must be {limits}, found {value}{rest}")
    for name, value in settings.given(("keep_gb", "gpus_per_trial")).items():
        if value != AUTO and not 0 < value < math.inf:
            raise ValueError(f"{option(name)} must be a number above 0, found {value:g}")


def _check_fixed(settings: Settings, earlier: str) -> None:
    """Refuse options that the run has fixed which another option goes on with."""
    trackers = ("wandb", "mlflow") if earlier == "confirm" else ()
    fixed = [name for name in settings.given((*FIXED_BY_RUN, *trackers)) if name not in FREE[earlier]]
    if earlier == "resume" and settings.space and own.is_own(settings.space):
        fixed.remove("space")  # it is named once more so that it may run, see `spaces/own.py`
    if not fixed:
        return
    rest = "leave it out or start a new run"
    if earlier == "extend" and fixed[0] == "epochs":
        rest = "its learning rates follow a schedule over these epochs, and more of them are another training; " + rest
    raise ValueError(
        f"{option(fixed[0])} is fixed by the run that --{earlier} "
        f"{'takes' if earlier == 'promote' else 'continues'}; {rest}"
    )
