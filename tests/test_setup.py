"""The set-up script says in one line what a machine lacks."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def set_up(tmp_path, python, **environment):
    """Run the script in an empty folder, where a set-up that goes too far would find no requirements."""
    return subprocess.run(
        ["sh", str(ROOT / "setup.sh"), str(python)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )


def fake_python(tmp_path, version):
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\ncase "$2" in *version_info*) echo {version};; *ensurepip*) exit ${{NO_VENV:-0}};; esac\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["3.9", "3.14", "2.7"])
def test_unsupported_python(tmp_path, version):
    done = set_up(tmp_path, fake_python(tmp_path, version))
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: Python {version} is not supported, 3.10 to 3.13 are: name one, as in make PYTHON=python3.12 ...\n"
    )


def test_missing_python_venv_and_compiler(tmp_path):
    assert "nopython is not found: install Python 3.10 to 3.13" in set_up(tmp_path, "nopython").stderr
    done = set_up(tmp_path, fake_python(tmp_path, "3.12"), NO_VENV="1")
    assert "has no venv module: install it (Debian: apt-get install python3.12-venv)" in done.stderr
    done = set_up(tmp_path, fake_python(tmp_path, "3.12"), CXX="no-such-compiler")
    assert done.stderr.startswith(
        "setup: no C++ compiler (no-such-compiler): install one (Debian: apt-get install g++)"
    )
    assert len(done.stderr.splitlines()) == 1


def test_lock_covers_every_python_and_ends_with_this_package():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert lines[-1] == "-e ."
    assert "torch>=2.10,<2.15" in lines
    pinned = [line for line in lines if not line.startswith(("#", "torch", "-e"))]
    assert all("==" in line for line in pinned)
    assert not any(line.startswith("nvidia-") for line in lines)
    assert (3, 10) <= sys.version_info < (3, 14)
