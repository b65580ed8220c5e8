import optuna
import pytest

from analysis.reporting import figures
from analysis.results.board import leaderboard
from analysis.results.importances import complete_trials, important, open_study
from trainable.run_folder.folders import RunFolder


def test_stopped_trials_end_with_a_cross(searched):
    drawn = figures.learning_curves(leaderboard([searched.path]))
    named = {trace.name: trace for trace in drawn.data}
    curve = searched.trial(3).curve()
    assert named["stopped"].x == (curve[-1]["epoch"],)
    assert named["stopped"].y == (curve[-1]["val_miou"],)
    assert len(drawn.data) == 5  # four trials with a curve
    best = max(searched.trials(), key=lambda folder: max([row["val_miou"] for row in folder.curve()], default=0))
    hover = named[f"1. trial {best.number}"].hovertemplate
    assert f"trial {best.number}" in hover
    assert best.params()["loss"] in hover


def test_heatmap_has_each_class_and_absent_ones_are_no_zero(searched):
    board = leaderboard([searched.path])
    board.ranked[0].trial.best["iou_Battery"] = float("nan")
    drawn = figures.class_heatmap(board, 2).data[0]
    assert len(drawn.x) == 11
    assert len(drawn.z) == 2
    assert drawn.z[0][9] is None
    assert drawn.text[0][9] == "–"


def test_figures_of_the_study(searched):
    before = searched.study.read_bytes()
    study = open_study(searched)
    shares = important(study)
    assert set(shares) == {"lr", "loss", "elastic"}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(figures.importances(study, shares).data[0].y) == set(shares)
    slices = figures.slices(study, list(shares))
    assert list(slices) == list(shares)
    assert sorted(slices["loss"].data[0].x) == ["cross_entropy", "cross_entropy", "dice"]
    parallel = figures.parallel_coordinates(study, list(shares))
    lines = [trace for trace in parallel.data if trace.mode == "lines"]
    assert len(lines) == len(complete_trials(study)) == 3
    assert len({trace.line.color for trace in lines}) > 1
    assert searched.study.read_bytes() == before


def test_too_few_trials_and_missing_studies_are_told(searched, tmp_path):
    few = optuna.create_study()
    with pytest.raises(ValueError, match="so far there are 0"):
        important(few)
    for _ in range(2):
        few.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ValueError, match="no parameter that all 2 trials"):
        important(few)
    with pytest.raises(ValueError, match="missing"):
        open_study(RunFolder(tmp_path))
    assert not RunFolder(tmp_path).study.exists()
    searched.study.write_bytes(b"\xff\xfe not a journal\n" * 3)
    with pytest.raises(ValueError, match="cannot be read as one study"):
        open_study(searched)


def test_a_parameter_few_trials_have_gets_no_importance(searched):
    study = optuna.create_study(direction="maximize")
    for number in range(4):
        distributions = {"a": optuna.distributions.FloatDistribution(0, 9)}
        params = {"a": float(number)}
        if number > 1:
            params["b"], distributions["b"] = float(number), distributions["a"]
        study.add_trial(optuna.trial.create_trial(value=number, params=params, distributions=distributions))
    assert list(important(study)) == ["a"]
