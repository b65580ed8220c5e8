from pathlib import Path

import pytest

from analysis.verify import main, verify
from trainable.manifest import Manifest


@pytest.fixture
def run(searched):
    """A run whose trials have ended, with their checksums."""
    for folder in searched.trials():
        files = Manifest(folder.path).facts()
        status = folder.status()
        folder.write_status(status["state"], status["reason"], **({"files": files} if files else {}))
    return searched


def test_whole_run_is_whole(run, capsys):
    assert main(["--run", str(run.path)]) == 0
    assert "small is whole: " in capsys.readouterr().out


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["best.safetensors", "curve.csv", "confusion.npz", "out_of_fold.parquet"])
@pytest.mark.parametrize(("damage", "said"), [
    (cut, "bytes, written were"), (flip, "has changed since it was written"), (Path.unlink, "is missing"),
])  # fmt: skip
def test_damage_of_any_file_is_listed_alone(run, capsys, name, damage, said):
    damage(run.trial(1).path / name)
    assert main(["--run", str(run.path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    assert f"trials/0001/{name}: " in line
    assert said in line


@pytest.mark.parametrize("name", ["search.json", "folds.json", "trials/0002/trial.json"])
def test_record_that_is_no_json_is_listed(run, name):
    (run.path / name).write_text("{")
    assert any(problem.startswith(f"{name}: ") for problem in verify(run)[1])


def test_file_of_a_killed_writer_is_listed(run):
    (run.path / "trials" / "0000" / ".curve.csv.tmp").write_text("")
    assert any("left behind by a process that was killed" in problem for problem in verify(run)[1])


def test_trial_without_checksums_is_opened(searched):
    problems = verify(searched)[1]
    assert all("has no checksums, the files could only be opened" in problem for problem in problems)
    cut(searched.trial(0).best_weights)
    assert any("best.safetensors: cannot be read" in problem for problem in verify(searched)[1])


def test_no_run_is_a_clear_error(tmp_path, capsys):
    assert main(["--run", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
