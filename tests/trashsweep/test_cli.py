"""The command `trashsweep`."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from trashsweep.cli import COMMANDS, main, usage


def test_help_is_grouped_and_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS) and "results:" in out
    assert max(map(len, usage().splitlines())) <= 100


def test_a_misspelt_command_is_told_which_one_is_near(capsys):
    assert main(["serch"]) == 2
    assert "did you mean 'search'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name, capsys):
    if COMMANDS[name].first:
        return  # the help of the command that it stands for
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and "usage:" in capsys.readouterr().out


def test_words_are_those_of_the_script(tmp_path, capsys):
    assert main(["status", "--runs-dir", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out
    assert main(["stop", "a", "--runs-dir", str(tmp_path)]) == 2
    assert "no run a" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "expected"), [("trashsweep rep", "report"), ("trashsweep search --sp", "--space"),
                                                ("trashsweep ensemble --no-t", "--no-tta")])  # fmt: skip
def test_shells_complete_it(line, expected, tmp_path):
    out = tmp_path / "out"
    environment = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1",
                   "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}  # fmt: skip
    subprocess.run([sys.executable, "-m", "trashsweep.cli"], cwd=ROOT, env={**os.environ, **environment}, timeout=60)
    assert expected in out.read_text().split("\x0b")[0]


def test_a_package_that_is_not_installed_is_named_with_its_group(monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    monkeypatch.setattr("trashsweep.cli.importlib.import_module", missing)
    assert main(["status"]) == 2
    assert "needs the package ray, which is not installed: pip install -e '.[all]'" in capsys.readouterr().err
