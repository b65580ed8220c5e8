"""What a shell may put where a command line takes a value."""

import subprocess
import sys

from tests.conftest import ROOT
from trashsweep.completion import run_folders, spaces, value_parser


def test_run_folders_are_those_below_what_is_typed(tmp_path, monkeypatch):
    for name in ("runs/a", "runs/b", "elsewhere/c"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("runs/a", "elsewhere/c"):
        (tmp_path / name / "search.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert run_folders("") == ["runs/a", "elsewhere/", "runs/"]
    assert run_folders("runs/") == ["runs/a", "runs/b/"]
    assert run_folders(f"{tmp_path}/elsewhere/") == [f"{tmp_path}/elsewhere/c"]
    assert run_folders("nowhere/") == []


def test_spaces_that_are_joined_already_are_not_offered_again():
    assert "losses" in spaces("") and "joint" in spaces("")
    assert "losses+optimizers" in spaces("losses+") and "losses+losses" not in spaces("losses+")


def test_values_need_no_parser_of_the_command():
    assert value_parser("refit", ["--run"]) and value_parser("status", [])
    assert value_parser("refit", ["--run", "runs/a", "--out"]) is None and value_parser("refit", []) is None


def test_a_press_of_the_tab_key_imports_neither_ray_nor_pytorch():
    code = (
        "import sys; from trashsweep.completion import *; spaces(''); encoder_groups(); run_folders('');"
        "sys.exit(str({'torch', 'ray'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
