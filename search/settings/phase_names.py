"""The phases on the way to a submission, by name and in their order."""

SEARCH, PROMOTE, CONFIRM, ENSEMBLE, SUBMISSION, MODEL = (
    "search",
    "promote",
    "confirm",
    "ensemble",
    "submission",
    "model",
)

LABEL, EXTRA, EXTRA_FOLDS, TOGETHER = PSEUDO_LABELS = ("label", "extra", "extra-folds", "together")

ORDER = (SEARCH, PROMOTE, CONFIRM, ENSEMBLE, SUBMISSION, MODEL)

WHAT = {
    SEARCH: "short trainings of many configs",
    PROMOTE: "the best ones longer, on larger photos",
    CONFIRM: "the best of these on further folds",
    ENSEMBLE: "their weights, each step only where it gains",
    LABEL: "soft labels of the test photos",
    EXTRA: "the best config on these too",
    EXTRA_FOLDS: "the same on the ensemble's folds",
    TOGETHER: "the ensemble again, with these models",
    SUBMISSION: "the test photos",
    MODEL: "one model on all photos, if there is time",
}
"""What each phase does, in words."""


def phases_to(last: str, pseudo_labels: bool = False) -> tuple[str, ...]:
    """Return the phases up to one, with or without a round of pseudo labels after the first ensemble."""
    phases = ORDER[: ORDER.index(last) + 1]
    if not pseudo_labels or ENSEMBLE not in phases:
        return phases
    after = phases.index(ENSEMBLE) + 1
    return (*phases[:after], *PSEUDO_LABELS, *phases[after:])
