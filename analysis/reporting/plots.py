"""The notebook's figures, drawn by matplotlib so that they show in any viewer. Each function returns a figure.

What cannot be drawn, of too few trials or for want of files, is a figure that says why.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.figure import Figure

from analysis.prediction.mask_files import colours
from analysis.reporting.figures import COLOURS, OTHERS
from analysis.reporting.legend import add_legend, short
from analysis.reporting.pictures import Picture, pictures, trial_to_draw, varied, worst
from analysis.results.board import Board
from analysis.results.importances import MOST, important, open_study, quiet
from trainable.classes import Classes
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import STOPPED
from trainable.storage.record_checks import DAMAGE

DPI = 80
Arguments = ParamSpec("Arguments")


def _or_why(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw the reason where there is nothing to draw, and close the figure: a notebook would show it twice."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with plt.rc_context():  # Optuna changes the style of all figures to come
            try:
                figure = draw(*args, **kwargs)
            except DAMAGE as error:
                figure = plt.figure(figsize=(9, 0.6))
                figure.text(0, 0.5, f"Nothing to draw: {error}", va="center", wrap=True)
            figure.set_dpi(DPI)
            plt.close(figure)
            return figure

    return drawn


@_or_why
def learning_curves(board: Board) -> Figure:
    """Return val_miou by epoch of every trial; the best have a colour, and a cross is where one was stopped."""
    figure, axis = plt.subplots(figsize=(9, 4.2))
    for position, entry in enumerate(board.entries):
        trial, best = entry.trial, bool(entry.rank) and position < len(COLOURS)
        epochs, values = [row["epoch"] for row in trial.curve], [row["val_miou"] for row in trial.curve]
        axis.plot(
            epochs,
            values,
            color=COLOURS[position] if best else OTHERS,
            linewidth=2 if best else 0.9,
            label=f"{entry.rank}. trial {trial.label}" if best else None,
            zorder=3 if best else 2,
        )
        if trial.state == STOPPED and trial.curve:
            axis.plot(epochs[-1], values[-1], "x", color="#D55E00", zorder=4)
    axis.plot([], [], "x", color="#D55E00", label="stopped")
    axis.set(xlabel="epoch", ylabel="val_miou", ylim=(0, None))
    axis.grid(color="#e3e5e8")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure


@_or_why
def importances(run: RunFolder) -> Figure:
    """Return Optuna's bars of how much each parameter mattered among the trials of the full budget."""
    study = open_study(run)
    names = list(important(study))[: 2 * MOST]
    with quiet():
        axes = optuna.visualization.matplotlib.plot_param_importances(study, params=names)
    axes.legend().remove()
    return _sized(axes, 9, 1.2 + 0.3 * len(names))


@_or_why
def slices(run: RunFolder) -> Figure:
    """Return Optuna's val_miou by the values of the parameters that mattered most."""
    study = open_study(run)
    names = list(important(study))[:4]
    with quiet():
        axes = optuna.visualization.matplotlib.plot_slice(study, params=names, target_name="val_miou")
    figure = _sized(axes, 10, 3.6)
    figure.axes[-1].remove()  # the scale of trial numbers, which lies on the last parameter
    for axis in figure.axes:
        axis.tick_params(axis="x", labelrotation=50, labelsize=8)
    figure.tight_layout()
    return figure


@_or_why
def parallel_coordinates(run: RunFolder) -> Figure:
    """Return Optuna's lines through the parameters of each trial, coloured by val_miou."""
    study = open_study(run)
    names = list(important(study))[:MOST]
    with quiet():
        axes = optuna.visualization.matplotlib.plot_parallel_coordinate(study, params=names, target_name="val_miou")
    figure = _sized(axes, 10, 4)
    for axis in figure.axes:
        axis.grid(False)
        if axis.get_label() == "<colorbar>":  # away from the names of the last parameter's values
            left, bottom, width, height = axis.get_position().bounds
            axis.set_position((left + 0.06, bottom, width, height))
    return figure


def _sized(axes: Any, width: float, height: float) -> Figure:
    """Return the figure of Optuna's axes in our size and colours."""
    first = np.ravel(axes)[0]
    figure: Figure = first.figure
    figure.set_size_inches(width, height)
    figure.suptitle("")
    for side in ("left", "center"):
        first.set_title("", loc=side)
    for axis in figure.axes:
        axis.set_facecolor("white")
        axis.grid(color="#e3e5e8")
        for drawn in axis.collections:
            drawn.set_cmap("viridis")
            drawn.set_alpha(1)
    with quiet():
        figure.tight_layout()
    return figure


@_or_why
def class_heatmap(board: Board, count: int = 15) -> Figure:
    """Return IoU by class of the best trials."""
    entries = board.ranked[:count]
    if not entries:
        raise ValueError("no trial has ended an epoch yet")
    names = [short(name) for name in entries[0].class_ious]
    values = np.array([list(entry.class_ious.values()) for entry in entries])
    size = max(9, 2.2 + 0.42 * len(names)), 0.6 + 0.055 * max(15, *map(len, names)) + 0.32 * len(entries)
    figure, axis = plt.subplots(figsize=size)
    image = axis.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        label = "–" if math.isnan(value) else f"{value:.2f}"
        axis.text(column, row, label, ha="center", va="center", fontsize=8, color="black" if value > 0.6 else "white")
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axis.set_yticks(range(len(entries)), [f"{entry.rank}. trial {entry.trial.label}" for entry in entries], fontsize=8)
    axis.set_facecolor("#808890")
    figure.colorbar(image, ax=axis, label="IoU", fraction=0.03, pad=0.02)
    figure.tight_layout()
    return figure


@_or_why
def best_predictions(board: Board, photos: int = 6) -> Figure:
    """Return the best trial's predictions beside the truth, of the validation photos of most classes."""
    trial = trial_to_draw(board)
    return _gallery(pictures(_run_of(board), trial, varied(trial, photos)), f"trial {trial.label}", board.found.classes)


@_or_why
def worst_predictions(board: Board, photos: int = 6) -> Figure:
    """Return the photos that went worst with the best trial, by their mIoU and by their share of wrong pixels."""
    trial = trial_to_draw(board)
    return _gallery(pictures(_run_of(board), trial, worst(trial, photos)), f"trial {trial.label}", board.found.classes)


def _run_of(board: Board) -> RunFolder:
    trial = trial_to_draw(board)
    return next(run for run in board.found.runs if trial.folder.path.is_relative_to(run.path))


def _gallery(photos: list[Picture], title: str, classes: Classes) -> Figure:
    aspect, palette = max(picture.truth.shape[0] / picture.truth.shape[1] for picture in photos), colours(classes)
    size = (1.6 * len(photos) + 0.3, max(4.6 * aspect, 2.4) + 1.3)
    figure, axes = plt.subplots(3, len(photos), figsize=size, squeeze=False)
    for column, picture in enumerate(photos):
        drawn = (picture.photo, palette[picture.truth], palette[picture.prediction])
        for axis, pixels in zip(axes[:, column], drawn, strict=True):
            axis.imshow(pixels, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        axes[0, column].set_title(
            f"{picture.file_name}\nmIoU {picture.miou:.2f}, {picture.wrong:.0%} wrong", fontsize=6.5
        )
        axes[2, column].set_xlabel(picture.mistake.replace(" taken", "\ntaken"), fontsize=6.5)
    for axis, name in zip(axes[:, 0], ("photo", "truth", title), strict=True):
        axis.set_ylabel(name, fontsize=8)
    present = {
        int(value) for picture in photos for value in (*np.unique(picture.truth), *np.unique(picture.prediction))
    }
    taken = add_legend(figure, classes, present, fontsize=7)
    top, bottom = 1 - 0.41 / size[1], max(taken + 0.47 / size[1], 0.15)  # above and below are titles and mistakes
    figure.subplots_adjust(left=0.04, right=0.99, top=top, bottom=bottom, wspace=0.05, hspace=0.04)
    return figure
