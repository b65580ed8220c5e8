"""How users type our commands."""

import pytest

from search.run_state.leaderboard import resume_command
from search.settings.settings import Settings
from trainable.machine.called_as import CALLED_AS, command_line, program
from trainable.run_folder.folders import RunFolder

CASES = [
    (("search/run.py", "--space", "a b"), "python search/run.py --space 'a b'", "trashsweep search --space 'a b'"),
    (
        ("search/run.py", "--resume", "a", "--to", "x"),
        "python search/run.py --resume a --to x",
        "trashsweep resume a --to x",
    ),
    (("search/status.py", "--stop", "a"), "python search/status.py --stop a", "trashsweep stop a"),
    (("search/status.py", "a"), "python search/status.py a", "trashsweep status a"),
    (
        ("analysis/refit.py", "--run", "r", "--resume"),
        "python analysis/refit.py --run r --resume",
        "trashsweep refit --run r --resume",
    ),
    (("trainable.fold", "--config", "c"), "python -m trainable.fold --config c", "trashsweep train --config c"),
]


@pytest.mark.parametrize(("words", "as_script", "as_subcommand"), CASES)
def test_a_command_is_typed_as_this_process_was_started(words, as_script, as_subcommand, monkeypatch):
    monkeypatch.setenv(CALLED_AS, "")
    assert command_line(*words) == as_script
    monkeypatch.setenv(CALLED_AS, "search")
    assert command_line(*words) == as_subcommand


def test_a_script_has_its_own_name_or_that_of_the_subcommand(monkeypatch):
    monkeypatch.setenv(CALLED_AS, "")
    assert program("search/run.py") == "search/run.py" and program("trainable.fold") == "python -m trainable.fold"
    monkeypatch.setenv(CALLED_AS, "resume")
    assert program("search/run.py") == "trashsweep resume" and program("analysis/refit.py") == "trashsweep refit"


def test_hints_of_a_run_follow_it(tmp_path, monkeypatch):
    monkeypatch.setenv(CALLED_AS, "search")
    command = resume_command(RunFolder(tmp_path / "a"), Settings(gpus=2))
    assert command == f"trashsweep resume a --runs-dir {tmp_path} --gpus 2"
