"""The command `trashsweep`."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.conftest import ROOT
from trainable.machine.called_as import CALLED_AS, NAMED, SUBCOMMANDS
from trashsweep.cli import COMMANDS, main, usage


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Set back what a command says to the processes it starts."""
    monkeypatch.setenv(CALLED_AS, "")


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
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and f"usage: trashsweep {name} " in capsys.readouterr().out


def test_every_script_has_its_subcommand():
    modules = {module.removesuffix(".py").replace("/", "."): name for module, name in SUBCOMMANDS.items()}
    assert modules == {command.module: name for name, command in COMMANDS.items() if name not in NAMED}
    assert all(COMMANDS[name].first == (option,) for name, (_, option) in NAMED.items())


def test_stop_says_what_it_takes(capsys):
    with pytest.raises(SystemExit):
        main(["stop", "--help"])
    out = capsys.readouterr().out
    assert "save everything and stop" in out and "NAME" in out and "--watch" not in out


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("words", [(), ("--runs-dir", "runs")])
def test_what_needs_a_run_says_so(name, words, capsys):
    if name == "stop" and words:
        with pytest.raises(SystemExit):
            main([name, *words])
        assert "trashsweep stop: error: the following arguments are required: NAME" in capsys.readouterr().err
        return
    assert main([name, *words]) == 2
    assert f"`trashsweep {name} NAME` needs the name of a run" in capsys.readouterr().err


def test_errors_are_of_the_command_that_was_typed(capsys):
    with pytest.raises(SystemExit):
        main(["report"])
    assert "trashsweep report: error: " in capsys.readouterr().err


def test_help_and_version_are_found_by_the_words_that_people_try(capsys):
    assert main(["help"]) == 0 and capsys.readouterr().out == usage()
    with pytest.raises(SystemExit):
        main(["help", "report"])
    assert "usage: trashsweep report" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"trashsweep {version('trashsweep')}\n"


def test_python_runs_it_as_a_module():
    done = subprocess.run([sys.executable, "-m", "trashsweep", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("trashsweep ")


def test_a_missing_file_is_told_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["vote", "missing.csv", "b.csv", "--out", "voted.csv"]) == 2
    err = capsys.readouterr().err
    assert f"error: there is no file or folder missing.csv in {tmp_path}; see that it is spelt right" in err


def test_words_are_those_of_the_script(tmp_path, capsys):
    assert main(["status", "--runs-dir", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out
    assert main(["stop", "a", "--runs-dir", str(tmp_path)]) == 2
    assert "no run a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rep", "report"),
        ("help rep", "report"),
        ("search --sp", "--space"),
        ("ensemble --no-t", "--no-tta"),
        ("submission --run runs/a --o", "--out"),
        ("search --space los", "losses"),
        ("search --space losses+op", "losses+optimizers"),
        ("search --encoders me", "medium"),
        ("report --run ", "runs/a"),
        ("refit --run runs/", "runs/a"),
        ("status ", "a"),
        ("resume ", "a"),
        ("stop ", "a"),
        ("search --epochs 3 --warm-start ", "a"),
    ],
)
def test_shells_complete_it(line, expected, tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "search.json").write_text("{}")
    line, out = f"trashsweep {line}", tmp_path / "out"
    environment = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1",
                   "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}  # fmt: skip
    environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    code = "import sys; from trashsweep.cli import main; main()"  # a folder `runs` is looked for where the shell is
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=60)
    assert out.read_text().split("\x0b")[0].strip() == expected


def test_a_package_that_is_not_installed_is_named_with_its_group(monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    monkeypatch.setattr("trashsweep.cli.importlib.import_module", missing)
    assert main(["status"]) == 2
    assert "needs the package ray, which is not installed: pip install -e '.[all]'" in capsys.readouterr().err
