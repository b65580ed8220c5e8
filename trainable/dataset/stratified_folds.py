"""Deals the photos into k folds of the same make-up, keeping photos of one scene together."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trainable.config import NO_FOLD
from trainable.dataset.cache import Cache
from trainable.dataset.fold_balancing import SWAPPED, WITHIN, balanced, even, ratio
from trainable.dataset.folds import Folds
from trainable.dataset.scene_groups import group_scenes, on_both_sides

ANNOTATION_BINS = (1, 2, 3, 5, 9, 17)
"""Lower edges of the bins of annotations per photo: about even on the competition's photos, with 8 on average."""

DEALS = 10
"""Dealings tried, the most even one is kept: one alone leaves a class of 100 photos up to 14% off its share."""


def make_folds(cache: Cache, count: int, seed: int, given: Mapping[str, str] | None = None) -> Folds:
    """Deal the photos of a cache into `count` folds; the same photos and seed give the same folds at any image size.

    Args:
        cache: the photos.
        count: of folds.
        seed: of the deal.
        given: by file name, `train` or `val`, where nothing is dealt: fold 0 validates on what the data says, and the
            others train in every fold.

    Raises:
        ValueError: fewer than 2 folds, or more than there are scenes.
    """
    present = cache.class_pixels > 0
    groups = group_scenes(cache.scene_hashes, cache.file_names)
    sizes = np.bincount(groups)
    example = min(name for name, group in zip(cache.file_names, groups, strict=True) if group == sizes.argmax())
    if given is not None:
        by_data = {name: 0 if given.get(name) == "val" else NO_FOLD for name in cache.file_names}
        validates = np.array([fold == 0 for fold in by_data.values()])
        counts = tuple(int(n) for n in present[validates].sum(axis=0))
        both = on_both_sides(groups, validates)
        known, several = int(np.isin(groups[validates], both).sum()), int((sizes > 1).sum())
        return Folds(
            1, seed, by_data, (counts,), several, 1, example, 0, cache.classes.names, both_sides=len(both), known=known
        )
    if count > len(sizes):
        raise ValueError(_too_few_scenes(len(groups), len(sizes), int(sizes.max()), example, count))
    annotation_counts = np.asarray(cache.annotation_counts)
    # Classes without background get a column in its place that no photo has.
    labels = present if cache.classes.background else np.pad(present, ((0, 0), (1, 0)))
    fold = stratify(labels, annotation_counts, groups, count, seed)
    fewer = 0 if even(_sizes(fold, count)) else _even_fewer(labels, annotation_counts, groups, count, seed)
    table = tuple(tuple(int(n) for n in present[fold == k].sum(axis=0)) for k in range(count))
    fold_of = {name: int(k) for name, k in zip(cache.file_names, fold, strict=True)}
    return Folds(
        count, seed, fold_of, table, int((sizes > 1).sum()), int(sizes.max()), example, fewer, cache.classes.names
    )


def _even_fewer(
    present: NDArray[np.bool_], annotation_counts: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int
) -> int:
    """Return the most folds below `count` that are dealt evenly, 0 if none are; see `stratify` for the rest."""
    largest = int(np.bincount(groups).max())
    for fewer in range(count - 1, 1, -1):
        smallest = (len(groups) - largest) // (fewer - 1)  # at most, beside a fold of the largest scene
        if not even([max(largest, smallest), smallest]):
            continue  # no deal is, and each takes seconds
        if even(_sizes(stratify(present, annotation_counts, groups, fewer, seed), fewer)):
            return fewer
    return 0


def _too_few_scenes(photos: int, scenes: int, largest: int, example: str, count: int) -> str:
    rule = f"folds must be 2 to the number of scenes ({scenes}), found {count}"
    why = "photos that look alike are one scene and share a fold: a network that trained on one knows them all"
    if scenes == 1:
        what = f"all {photos} photos look like {example}"
        return f"{rule}: {what}; {why}. Add photos of {count - 1} other scenes, or of one and take --folds 2"
    what = f"the largest scene has {largest} of the {photos} photos, such as {example}"
    most = f"{scenes} or fewer" if scenes > 2 else "2"
    return f"{rule}: {what}; {why}. Take --folds {most}, or add photos of other scenes"


def stratify(
    present: NDArray[np.bool_], annotation_counts: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each photo, (N,), stratified over its rarest class, number of classes and of annotations.

    Args:
        present: (N, C), which classes a photo holds; class 0 is background.
        annotation_counts: (N,).
        groups: (N,), photos that must share a fold share a number from 0 on.
        count: folds.
        seed: of the dealing.

    Where that leaves a fold more than 20% larger than another, groups change folds (see
    `trainable/dataset/fold_balancing.py`).

    Source: iterative stratification, Sechidis et al. 2011, on one row per group: the union of its photos' labels;
    the most even of several dealings.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # imports scikit-learn: only new folds wait for it

    sizes = np.bincount(groups)
    if not 2 <= count <= len(sizes):
        raise ValueError(f"folds must be 2 to the number of scenes ({len(sizes)}), found {count}")
    labels = _labels(present, annotation_counts)
    of_group = np.zeros((len(sizes), labels.shape[1]), bool)
    np.logical_or.at(of_group, groups, labels)
    deals: list[NDArray[np.int64]] = []  # the fold of each group
    for deal in range(DEALS):
        dealer = MultilabelStratifiedKFold(count, shuffle=True, random_state=(seed * DEALS + deal) % 2**32)
        fold_of_group = np.empty(len(sizes), np.int64)
        for fold, (_, members) in enumerate(dealer.split(of_group, of_group)):
            fold_of_group[members] = fold
        deals.append(fold_of_group)
    best = min(deals, key=lambda deal: _unevenness(present, deal[groups], count))
    if even(_sizes(best[groups], count)):
        return best[groups]
    photos = np.zeros((len(sizes), labels.shape[1] + present.shape[1]), np.int64)
    np.add.at(photos, groups, np.hstack([labels, present]))
    # Of many scenes one deal is as good as another once they are moved, and each takes seconds.
    some = deals if len(sizes) <= SWAPPED else [best]
    evened = [balanced(deal, sizes, photos, count)[groups] for deal in some]
    return min(evened, key=lambda fold: (max(ratio(_sizes(fold, count)), WITHIN), *_unevenness(present, fold, count)))


def _sizes(fold: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.bincount(fold, minlength=count)


def _unevenness(present: NDArray[np.bool_], fold: NDArray[np.int64], count: int) -> tuple[int, float]:
    """Count the avoidable absences, and find the largest relative deviation of a frequent class's share in a fold."""
    photos = np.array([present[fold == k].sum(axis=0) for k in range(count)])  # (folds, C)
    total = present.sum(axis=0)
    share = photos / np.maximum(np.bincount(fold, minlength=count), 1)[:, None]
    frequent = total >= 10 * count
    deviation = np.abs(share / np.maximum(total / len(present), 1e-9) - 1)[:, frequent]
    return int((photos[:, total >= count] == 0).sum()), float(deviation.max(initial=0))


def _labels(present: NDArray[np.bool_], annotation_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    foreground = present[:, 1:]
    rarity = np.argsort(foreground.sum(axis=0), kind="stable")  # classes, rarest first
    holds_any = foreground.any(axis=1)
    rarest = np.where(holds_any, 1 + rarity[np.argmax(foreground[:, rarity], axis=1)], 0)
    bins = np.searchsorted(ANNOTATION_BINS, annotation_counts, side="right")
    return np.hstack([_one_hot(rarest), _one_hot(foreground.sum(axis=1)), _one_hot(bins)])


def _one_hot(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    return values[:, None] == np.unique(values)[None, :]
