from dataclasses import replace

import pytest

from analysis.compare_runs import main
from trainable.fold import train_fold
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import write_json


@pytest.fixture
def run(tiny_config, tiny_data, tmp_path):
    run = RunFolder(tmp_path / "a")
    for number, lr in enumerate((1e-4, 3e-3)):
        folder = run.trial(number)
        config = replace(tiny_config, optimizer={"name": "adamw", "lr": lr})
        train_fold(config, tiny_data, folder, lambda row: None)
        folder.write_status(FINISHED)
        folder.write_params({"lr": lr, "elastic": False})
    write_json(run.path / "search.json", {"plan": {"space": "losses", "trials": 2, "base": tiny_config.to_dict()}})
    return run


def test_one_row_per_run_with_intervals(run, capsys):
    assert main(["--run", str(run.path), str(run.path)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert len(lines) == 4
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:3] == ["losses", "2", "6 of 6"]
    best = max(row["val_miou"] for folder in run.trials() for row in folder.curve())
    assert cells[4].startswith(f"{best:.3f} (")
    assert cells[6].startswith("lr ")
    assert "elastic" not in cells[6]
    assert main(["--runs", str(run.path), str(run.path)]) == 0  # as it was called before
    assert capsys.readouterr().out == out


def test_a_run_that_started_warm_has_no_reference_recipe(run, capsys):
    write_json(run.path / "priors.json", {})
    assert main(["--run", str(run.path)]) == 0
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[2].strip("|").split("|")]
    assert (cells[3], cells[5]) == ("-", "-") and cells[4] != "-"


def test_what_is_no_run_is_told(tmp_path, capsys):
    assert main(["--run", str(tmp_path / "none")]) == 2
    assert "none is not a run folder with trials" in capsys.readouterr().err
