"""A home of its own for commands that are refused, and what they say and import."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture(name="home")
def home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def refusals(home, commands):
    """Run commands in one process, as what one has imported, all have; returns their ends and what was imported."""
    text = """
import contextlib, io, json, sys
from search.run import main
said = []
for options in json.loads(sys.stdin.read()):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        status = main(options)
    said.append([status, error.getvalue()])
print(json.dumps([said, sorted({"ray", "torch"} & set(sys.modules))]))
"""
    command = [sys.executable, "-c", text]
    done = subprocess.run(
        command,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=home,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout)


def snapshot(run):
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
