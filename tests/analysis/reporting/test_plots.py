import os

import matplotlib.pyplot as plt
import pytest

from analysis.reporting import plots
from analysis.results.board import leaderboard
from analysis.results.reading import newest_run


def test_every_figure_is_drawn_and_left_to_its_caller(searched):
    board = leaderboard([searched.path])
    style = plt.rcParams["axes.facecolor"]
    drawn = [
        plots.learning_curves(board),
        plots.class_heatmap(board, 2),
        plots.importances(searched),
        plots.slices(searched),
        plots.parallel_coordinates(searched),
        plots.best_predictions(board, 2),
        plots.worst_predictions(board, 2),
    ]
    assert all(figure.axes for figure in drawn)
    assert plt.get_fignums() == []  # a notebook would show them twice
    assert plt.rcParams["axes.facecolor"] == style
    crosses = [line for line in drawn[0].axes[0].lines if line.get_marker() == "x" and len(line.get_xdata())]
    curve = searched.trial(3).curve()
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(1, curve[-1]["val_miou"])]
    assert drawn[1].axes[0].get_yticklabels()[0].get_text().startswith("1. trial ")
    assert len(drawn[5].axes) == 6


def test_what_cannot_be_drawn_says_why(searched):
    for folder in searched.trials():
        folder.out_of_fold.unlink(missing_ok=True)
    searched.study.unlink()
    board = leaderboard([searched.path])
    assert "none of 4 trials has kept its predictions" in plots.best_predictions(board).texts[0].get_text()
    assert "study.journal is missing" in plots.slices(searched).texts[0].get_text()


def test_newest_run(tmp_path):
    with pytest.raises(ValueError, match="there is no run in"):
        newest_run(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "search.json").write_text("{}")
    os.utime(tmp_path / "b" / "search.json", (1, 1))
    assert newest_run(tmp_path) == tmp_path / "a"
