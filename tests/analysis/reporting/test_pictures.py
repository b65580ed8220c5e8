import numpy as np
import pytest
import torch

from analysis.reporting.pictures import pictures, trial_to_draw, varied, worst
from analysis.results.board import leaderboard
from trainable.metric.confusion import mean_iou
from trainable.run_folder.out_of_fold import DamagedMapsError


def test_pictures_are_those_the_metric_counted(searched):
    trial = trial_to_draw(leaderboard([searched.path]))
    names = varied(trial, 99)
    assert sorted(names) == list(trial.confusion["file_names"])
    for picture in pictures(searched, trial, names):
        assert picture.photo.shape == (256, 256, 3)
        matrix = trial.confusion["scored"][list(trial.confusion["file_names"]).index(picture.file_name)]
        assert picture.wrong == pytest.approx(float((picture.truth != picture.prediction).mean()))
        assert picture.wrong == pytest.approx(1 - np.trace(matrix) / matrix.sum())
        assert " taken for " in picture.mistake


def test_worst_by_miou_and_by_pixels(searched):
    trial = trial_to_draw(leaderboard([searched.path]))
    matrices = trial.confusion["scored"]
    lowest = min(range(len(matrices)), key=lambda row: mean_iou(torch.from_numpy(matrices[row])))
    most_wrong = min(range(len(matrices)), key=lambda row: np.trace(matrices[row]))
    chosen = worst(trial, 2)
    assert chosen[0] == trial.confusion["file_names"][lowest]
    assert len(set(chosen)) == 2
    assert trial.confusion["file_names"][most_wrong] in chosen


def test_the_next_best_is_drawn_where_the_best_lost_its_predictions(searched):
    board = leaderboard([searched.path])
    board.ranked[0].trial.folder.out_of_fold.unlink()
    assert trial_to_draw(board) is board.ranked[1].trial
    for entry in board.ranked[1:]:
        entry.trial.folder.out_of_fold.unlink()
    with pytest.raises(ValueError, match="none of 4 trials has kept its predictions"):
        trial_to_draw(board)


def test_damaged_predictions_and_lost_photos_are_told(searched, monkeypatch):
    trial = trial_to_draw(leaderboard([searched.path]))
    with pytest.raises(ValueError, match="is not in the data any more"):
        pictures(searched, trial, ["nowhere.jpg"])
    path = trial.folder.out_of_fold
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DamagedMapsError):
        pictures(searched, trial, varied(trial, 1))
