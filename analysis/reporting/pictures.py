"""Photos a trial validated on with their truth and its prediction, as its out-of-fold probabilities have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.pool.run_data import labelled_cache
from analysis.results.board import Board
from analysis.results.trials import Trial
from trainable.counts import counted
from trainable.images.resampling import resize_photo
from trainable.metric.bootstrap import mean_ious
from trainable.run_folder.folders import RunFolder


@dataclass(frozen=True)
class Picture:
    """A photo with truth and prediction, as large as it is scored."""

    file_name: str
    photo: NDArray[np.uint8]  # (h, w, 3)
    truth: NDArray[np.uint8]  # (h, w) class index, or IGNORE_INDEX
    prediction: NDArray[np.uint8]
    miou: float  # of this photo alone
    wrong: float  # share of its pixels
    mistake: str  # the class most pixels were taken for another; empty where there is none


def trial_to_draw(board: Board) -> Trial:
    """Return the best trial whose predictions of the validation photos are kept.

    Raises:
        ValueError: there is none.
    """
    ranked = [entry.trial for entry in board.ranked]
    for trial in ranked:
        if trial.confusion and trial.folder.out_of_fold.exists():
            return trial
    if not ranked:
        raise ValueError("no trial has ended an epoch yet")
    raise ValueError(f"none of {counted(len(ranked), 'trial')} has kept its predictions (out_of_fold.parquet)")


def varied(trial: Trial, count: int) -> list[str]:
    """Return the names of the validation photos of most classes."""
    classes = (_confusion(trial).sum(axis=2) > 0).sum(axis=1)
    return _names(trial, np.argsort(-classes, kind="stable")[:count])


def worst(trial: Trial, count: int) -> list[str]:
    """Return the names of the photos that went worst: half by their own mIoU, half by the share of wrong pixels."""
    matrices = _confusion(trial)
    by_miou = np.argsort([_miou(matrix) for matrix in matrices], kind="stable")
    by_pixels = np.argsort(-_wrong(matrices), kind="stable")
    chosen = list(dict.fromkeys([*by_miou[: (count + 1) // 2].tolist(), *by_pixels.tolist()]))
    return _names(trial, chosen[:count])


def pictures(run: RunFolder, trial: Trial, file_names: Sequence[str]) -> list[Picture]:
    """Return photos with truth and prediction, in the order asked.

    Raises:
        ValueError: the data, or the trial's predictions, are gone or damaged.
        OSError: they cannot be read.
        ImportError: PyTorch, which brings predictions to where the score looks, is not installed.
    """
    import torch

    from trainable.run_folder.out_of_fold import Maps, scored_classes

    cache = labelled_cache(run, trial.config["image_size"])
    position_of = {name: position for position, name in enumerate(cache.file_names)}
    gone = [name for name in file_names if name not in position_of]
    if gone:
        raise ValueError(f"{gone[0]} ({len(gone)} such photos) is not in the data any more; restore the run's data")
    maps = Maps.open(trial.folder.out_of_fold).read(file_names)
    row_of = {str(name): row for row, name in enumerate(_file_names(trial))}
    result = []
    for name, probabilities in zip(file_names, maps, strict=True):
        position, matrix = position_of[name], _confusion(trial)[row_of[name]]
        own = int(cache.photo_sizes[position][0]), int(cache.photo_sizes[position][1])
        part, (height, width) = cache.geometry.content(own, cache.frame), cache.geometry.scored(own)
        photo = resize_photo(np.asarray(cache.images[position][: part[0], : part[1]]), height, width)
        classes = scored_classes(torch.from_numpy(probabilities)[None], np.array([own]), cache.geometry)
        result.append(
            Picture(
                name,
                photo,
                np.asarray(cache.score_masks[position])[:height, :width],
                classes[0].numpy()[:height, :width],
                _miou(matrix),
                float(_wrong(matrix[None])[0]),
                _mistake(matrix, cache.classes.names),
            )
        )
    return result


def _miou(matrix: NDArray[Any]) -> float:
    return float(mean_ious(matrix[None])[0])


def _confusion(trial: Trial) -> NDArray[Any]:
    if trial.confusion is None:
        raise ValueError(f"trial {trial.label} has no readable confusion.npz")
    return trial.confusion["scored"]


def _file_names(trial: Trial) -> NDArray[Any]:
    return trial.confusion["file_names"] if trial.confusion else np.array([])


def _names(trial: Trial, positions: Sequence[int] | NDArray[np.int64]) -> list[str]:
    return [str(_file_names(trial)[position]) for position in positions]


def _wrong(matrices: NDArray[Any]) -> NDArray[np.float64]:
    totals = matrices.sum(axis=(1, 2))
    return (totals - np.trace(matrices, axis1=1, axis2=2)) / np.maximum(totals, 1)


def _mistake(matrix: NDArray[Any], names: Sequence[str]) -> str:
    off = matrix - np.diag(np.diagonal(matrix))
    truth, predicted = np.unravel_index(np.argmax(off), off.shape)
    return f"{names[int(truth)]} taken for {names[int(predicted)]}" if off[truth, predicted] else ""
