import csv
import json
import shutil

import numpy as np
import pytest
from torch import nn

from analysis.leaderboard import main
from analysis.results.board import leaderboard
from analysis.results.reading import count_parameters
from trainable.classes import CLASSES
from trainable.engine.checkpoint import save_tensors
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED, INTERRUPTED, OOM, RUNNING
from trainable.storage.atomic_write import read_json, write_json


def test_ranks_groups_and_files(searched, capsys):
    assert main(["--run", str(searched.path)]) == 0
    printed = capsys.readouterr().out
    assert all(len(line) <= 130 for line in printed.splitlines()[:6])
    assert "trial 4 failed: DivergedError" in printed
    curves = {folder.number: folder.curve() for folder in searched.trials()}
    best = {number: max(row["val_miou"] for row in rows) for number, rows in curves.items() if rows}
    order = sorted(best, key=lambda number: -best[number])
    content = json.loads((searched.path / "leaderboard.json").read_text())
    assert [each["trial"] for each in content["trials"]] == [*order, 4]
    first = content["trials"][0]
    assert first["val_miou"] == pytest.approx(best[order[0]])
    assert first["val_miou_low"] <= first["val_miou"] <= first["val_miou_high"]
    assert first["group"] == "A"
    assert first["less_best"] == 0
    assert {f"iou_{name}" for name in CLASSES} < set(first)
    assert first["parameters"] == int(read_json(searched.trial(0).applied)["found"]["trained parameters"])
    assert content["trials"][-1]["rank"] is None
    rows = list(csv.DictReader((searched.path / "leaderboard.csv").open()))
    assert [row["param_loss"] for row in rows] == [searched.trial(int(row["trial"])).params()["loss"] for row in rows]
    markdown = (searched.path / "leaderboard.md").read_text()
    assert "## IoU by class" in markdown
    assert "the loss is nan / in epoch 1" in markdown  # a bar would end the cell


def test_several_runs_are_ranked_together_and_by_name(searched, tmp_path, capsys):
    shutil.copytree(searched.path, tmp_path / "again")
    for arguments in (
        ["--run", str(searched.path), str(tmp_path / "again")],
        ["--run", str(searched.path), "--run", str(tmp_path / "again")],
    ):
        assert main([*arguments, "--out", str(tmp_path / "both")]) == 0
        trials = json.loads((tmp_path / "both/leaderboard.json").read_text())["trials"]
        assert len(trials) == 10
        assert {each["run"] for each in trials} == {"small", "again"}
        assert [each["group"] for each in trials[:2]] == ["A", "A"]  # the same trial twice
        assert "small/" in capsys.readouterr().out
    assert len(leaderboard([searched.path, searched.path]).entries) == 5


@pytest.mark.parametrize("key", ["data_hash", "folds_hash"])
def test_runs_of_other_data_or_folds_are_refused(searched, tmp_path, capsys, key):
    shutil.copytree(searched.path, tmp_path / "other")
    search = RunFolder(tmp_path / "other").search()
    before, search[key] = search[key], "ffff"
    write_json(tmp_path / "other/search.json", search)
    assert main(["--run", str(searched.path), str(tmp_path / "other")]) == 2
    told = capsys.readouterr().err
    assert all(text in told for text in ("small", "other", before, "ffff"))


def test_top(searched, capsys):
    assert main(["--run", str(searched.path), "--top", "2"]) == 0
    assert capsys.readouterr().out.count("/3 ") == 2
    assert main(["--run", str(searched.path), "--top", "50"]) == 0
    assert "--top 50: 4 trials have a val_miou, all are shown" in capsys.readouterr().out
    assert main(["--run", str(searched.path), "--top", "0"]) == 2
    assert "--top must be at least 1, found 0" in capsys.readouterr().err


def test_what_is_no_run_is_told(searched, tmp_path, capsys):
    assert main(["--run", str(tmp_path)]) == 2
    assert "is no run folder: it has no search.json" in capsys.readouterr().err
    (searched.path / "search.json").write_text('{"plan"')
    assert main(["--run", str(searched.path)]) == 2
    assert "search.json is damaged" in capsys.readouterr().err


def test_a_run_still_going_on_says_so(searched, capsys):
    searched.trial(3).write_status(RUNNING)
    searched.trial(4).write_status(RUNNING)
    assert main(["--run", str(searched.path)]) == 0
    assert "still going on, or interrupted: 3 of 5 trials have ended" in capsys.readouterr().out
    shutil.rmtree(searched.path / "trials")
    assert main(["--run", str(searched.path)]) == 0
    assert "no trial has ended an epoch yet" in capsys.readouterr().out


def test_without_weights_the_parameters_are_those_applied(searched):
    before = leaderboard([searched.path])
    for folder in searched.trials():
        folder.best_weights.unlink(missing_ok=True)
        folder.out_of_fold.unlink(missing_ok=True)
    after = leaderboard([searched.path])
    assert after.found.problems == []
    assert [each.trial.parameters for each in after.ranked] == [each.trial.parameters for each in before.ranked]


def test_parameters_are_counted_without_buffers(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    save_tensors(tmp_path / "best.safetensors", model.state_dict())
    assert count_parameters(tmp_path / "best.safetensors") == sum(each.numel() for each in model.parameters())


def test_damaged_files_are_named_and_counted(searched, capsys):
    cut = searched.trial(0).path / "confusion.npz"
    cut.write_bytes(cut.read_bytes()[:100])
    weights = searched.trial(1).best_weights
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    (searched.trial(2).path / "curve.csv").write_text("epoch,val_miou\n1,none\n")
    (searched.trial(3).path / "applied.json").write_text("{")
    searched.trial(3).best_weights.unlink()
    assert main(["--run", str(searched.path)]) == 0
    told = capsys.readouterr().out
    assert "files that could not be used and are left out: 4" in told
    for text in ("trial 0, confusion.npz", "trial 1, best.safetensors", "trial 2, curve.csv", "trial 3, applied.json"):
        assert text in told
    board = leaderboard([searched.path])
    groups = {each.trial.label: each.group for each in board.entries}
    assert groups["0"] == ""  # ranked by its curve, in no group
    assert {each.trial.label for each in board.ranked} == {"0", "1", "3"}


def test_matrices_of_another_epoch_or_of_other_photos_are_left_out(searched):
    first, second = (searched.trial(number).confusion() for number in (0, 1))
    searched.trial(0).write_confusion(first["file_names"], first["scored"] + 50, first["full"])
    searched.trial(1).write_confusion([f"x{name}" for name in first["file_names"]], second["scored"], second["full"])
    board = leaderboard([searched.path])
    told = " ".join(board.found.problems)
    assert "trial 0, confusion.npz: its val_miou is" in told
    assert f"photos, not the {len(first['file_names'])} of trial" in told
    assert sum(each.place is None for each in board.ranked) >= 2


def test_a_trial_that_broke_has_no_rank(searched):
    best = leaderboard([searched.path]).ranked[0].trial.folder
    best.write_status(OOM, "one photo does not fit")
    board = leaderboard([searched.path])
    assert best.number not in [each.trial.folder.number for each in board.ranked]
    assert board.entries[-1].trial.broken


def test_finalists_are_ranked_over_all_their_photos(searched, capsys):
    rng, photos = np.random.default_rng(0), len(searched.trial(0).confusion()["file_names"])
    for number in (0, 1):
        for fold in (1, 2):
            further = searched.trial(number).further(fold)
            further.path.mkdir(parents=True)
            matrices = rng.integers(0, 9, (5, 11, 11)) + (1 - number) * 50 * np.eye(11, dtype=int)
            matrices *= 1000  # outweighs the photos of the trials' own fold
            further.write_confusion([f"{fold}-{index}.jpg" for index in range(5)], matrices, matrices)
            further.write_status(FINISHED)
    searched.trial(1).further(2).write_status(RUNNING)
    finalists = leaderboard([searched.path]).finalists
    assert [each.trial.label for each in finalists] == ["0", "1"]
    assert [sorted(each.val_miou_of) for each in finalists] == [[0, 1, 2], [0, 1]]
    assert [each.photos for each in finalists] == [photos + 10, photos + 5]
    assert [each.group for each in finalists] == ["A", "B"]
    verdict = leaderboard([searched.path]).verdict
    assert verdict.startswith("trial 0 is the best on ")
    once = finalists[0].val_miou_of
    again = searched.trial(0).further(1, seed=7)
    again.path.mkdir(parents=True)
    again.write_confusion([f"1-{index}.jpg" for index in range(5)], matrices, matrices)  # as much worse as trial 1
    again.write_status(FINISHED)
    twice = leaderboard([searched.path]).finalists[0].val_miou_of
    assert twice[1] < 0.9 * once[1] and {**twice, 1: 0} == {**once, 1: 0}  # the mean over seeds
    assert leaderboard([searched.path]).finalists[0].photos == finalists[0].photos
    shutil.rmtree(again.path)
    assert main(["--run", str(searched.path)]) == 0
    out = capsys.readouterr().out
    assert "Finalists over 3 folds" in out and verdict in out
    assert json.loads((searched.path / "leaderboard.json").read_text())["verdict"] == verdict
    assert "## Finalists over 3 folds" in (searched.path / "leaderboard.md").read_text()
    (searched.trial(1).further(1).path / "confusion.npz").write_bytes(b"")
    damaged = leaderboard([searched.path])
    assert [each.trial.label for each in damaged.finalists] == ["0"]
    assert any("trial 1, fold 1, confusion.npz" in text for text in damaged.found.problems)


@pytest.mark.parametrize(
    ("why", "told"),
    [("--until 29s is spent", "over (--until 29s is spent): 4 of 5 trials have ended"),
     ("all trials have ended", "over: 4 of 5 trials have ended")],
)  # fmt: skip
def test_a_run_whose_time_was_over_is_not_going_on(searched, capsys, why, told):
    searched.trial(3).write_status(INTERRUPTED)
    write_json(searched.path / "driver.json", {"ended": 1.0, "why": why})
    assert main(["--run", str(searched.path)]) == 0
    out = capsys.readouterr().out
    assert told in out and "going on" not in out
    stored = read_json(searched.path / "leaderboard.json")
    assert stored["going_on"] is None and stored["ended_early"] == told
    write_json(searched.path / "driver.json", {"ended": None})
    assert main(["--run", str(searched.path)]) == 0
    assert "still going on, or interrupted: 4 of 5" in capsys.readouterr().out


def test_configs_that_nothing_sampled_are_told(searched):
    for number, params in ((0, {"promoted": "trash:7"}), (1, {})):
        searched.trial(number).write_params(params)
    board = leaderboard([searched.path])
    told = {entry.trial.folder.number: board.in_short(entry.trial) for entry in board.ranked}
    assert told[0] == "trash:7: unet tu-test_resnet 32px cross_entropy adamw lr=0.001"
    assert told[1] == "unet tu-test_resnet 32px dice adamw lr=0.003"
    assert told[2].startswith("cross_entropy lr=0.01")
