import shutil
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from analysis.verify import main, verify
from trainable.storage.checksums import Manifest


def study_of(run):
    return optuna.load_study(study_name="small", storage=JournalStorage(JournalFileBackend(str(run.study))))


@pytest.fixture
def searched(searched):
    """The small run with a study that knows its failed trial too."""
    study_of(searched).add_trial(create_trial(state=TrialState.FAIL))
    return searched


@pytest.fixture
def run(searched):
    """A run whose trials have ended, with their checksums."""
    for folder in searched.trials():
        files = Manifest(folder.path).facts()
        status = folder.status()
        folder.write_status(status.state, status.reason, **({"files": files} if files else {}))
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


NO_PLAN = "is damaged: it has no plan with a base; bring it back from a copy of the folder: without it the run cannot"


@pytest.mark.parametrize(("name", "content", "said"), [
    ("search.json", "null", NO_PLAN),
    ("search.json", '{"plan": {"trials": "x"}}', NO_PLAN),
    ("search.json", '{"plan": {"trials": 0, "base": {"epochs": 1}}}', "must be whole numbers from 1 on; bring it back"),
    ("folds.json", "{}", "is damaged: it has no classes; bring it back"),
])  # fmt: skip
def test_record_that_says_something_else_is_listed(run, name, content, said):
    (run.path / name).write_text(content)
    (problem,) = verify(run)[1]
    assert problem.startswith(f"{name}: ")
    assert said in problem


@pytest.mark.parametrize("name", ["search.json", "folds.json"])
def test_record_that_is_missing_is_listed(run, name):
    (run.path / name).unlink()
    (problem,) = verify(run)[1]
    assert problem.startswith(f"{name}: is missing; bring it back from a copy of the folder: without it ")


@pytest.mark.parametrize(("line", "content"), [
    (2, b'{"op_c\n'), (3, b"\xff\n"), (4, b"[]\n"), (-1, b'{"op_code": 1}'),
])  # fmt: skip
def test_line_of_the_journal_that_is_none_is_listed(run, line, content):
    lines = run.study.read_bytes().splitlines(keepends=True)
    lines[line] = content
    run.study.write_bytes(b"".join(lines))
    assert verify(run)[1] == [
        f"study.journal: line {line % len(lines) + 1} of {len(lines)} is damaged or cut off; --resume small drops it "
        "and all after it, and takes from the trials' folders what they have"
    ]


@pytest.mark.parametrize("content", [b"", b'{"op_code": 99}\n'])
def test_journal_that_is_no_study_is_listed(run, content):
    run.study.write_bytes(content)
    (problem,) = verify(run)[1]
    assert problem.startswith("study.journal: cannot be read as one study (")
    assert "--resume small keeps what can be read" in problem


def test_journal_that_is_missing_is_listed(run):
    run.study.unlink()
    said = "study.journal: is missing; --resume small begins it anew with what the trials' folders have"
    assert verify(run)[1] == [said]
    assert not run.study.exists()


def test_run_that_ended_before_it_had_a_study_is_whole(run):
    run.study.unlink()
    shutil.rmtree(run.path / "trials")
    assert verify(run)[1] == []


def test_journal_that_an_extension_put_aside_is_no_problem(run):
    (run.path / "study-1.journal").write_bytes(b"")
    assert verify(run)[1] == []


def test_folder_of_a_trial_that_the_study_knows_to_have_ended_is_missed(run, capsys):
    shutil.rmtree(run.trial(1).path)
    assert main(["--run", str(run.path)]) == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")] == [
        "  trials/0001: is missing, the study has this trial as complete after 3 epochs; bring it back from a copy of "
        "the run, or --resume small puts it down as failed"
    ]


@pytest.mark.parametrize("epochs", [0, 1])
def test_folder_of_an_unfinished_trial_is_missed_once_it_has_an_epoch(run, epochs):
    trial = study_of(run).ask()
    for epoch in range(epochs):
        trial.report(0.1, epoch + 1)
    said = (
        "trials/0005: is missing, the study has this trial as unfinished after 1 epoch; bring it back from a copy "
        "of the run, or --resume small trains it again from its start"
    )
    assert verify(run)[1] == [said] * epochs


def test_trial_that_the_study_does_not_know_is_listed(run):
    lines = run.study.read_bytes().splitlines(keepends=True)
    run.study.write_bytes(b"".join(lines[:-1]))  # each trial of this study is a line
    said = "study.journal: does not know that trial 4 began; --resume small adds it as its folder has it"
    assert verify(run)[1] == [said]


def test_enqueued_trial_has_no_folder_yet(run):
    study_of(run).enqueue_trial({"lr": 0.1})
    assert verify(run)[1] == []


def test_folder_that_stands_for_no_trial_is_told_and_its_trial_missed(run, capsys):
    run.trial(3).path.rename(run.path / "trials" / "00003")
    assert main(["--run", str(run.path)]) == 1
    told = capsys.readouterr().err
    assert "note: trials/00003 is ignored" in told
    assert "small has 1 problem:" in told
    assert "trials/0003: is missing, the study has this trial as pruned after 1 epoch" in told
