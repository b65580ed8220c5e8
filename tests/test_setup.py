"""The set-up script says in one line what a machine lacks."""

import os
import subprocess
import sys

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

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
    """Return a Python that makes environments without a network."""
    path = tmp_path / "python"
    path.write_text(
        f"""#!/bin/sh
case "$2" in
    *version_info*) echo {version} ;;
    *ensurepip*) exit ${{NO_VENV:-0}} ;;
    venv) mkdir -p .venv/bin; printf '#!/bin/sh\\necho tried >>{tmp_path}/tries; exit 1\\n' >.venv/bin/python
          chmod +x .venv/bin/python ;;
esac
"""
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


def test_missing_python_and_venv(tmp_path):
    assert "nopython is not found: install Python 3.10 to 3.13" in set_up(tmp_path, "nopython").stderr
    done = set_up(tmp_path, fake_python(tmp_path, "3.12"), NO_VENV="1")
    assert "has no venv module: install it (Debian: apt-get install python3.12-venv)" in done.stderr


def test_a_download_is_tried_three_times(tmp_path):
    done = set_up(tmp_path, fake_python(tmp_path, "3.12"), SETUP_WAIT_S="0")
    assert done.returncode == 1 and "trying again (2 of 2)" in done.stderr
    assert done.stderr.splitlines()[-1] == "setup: uv, the installer, cannot be had: is there a network?"
    assert (tmp_path / "tries").read_text() == "tried\n" * 3


def test_groups_of_packages_are_as_light_as_they_say():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    reading = " ".join(groups["analysis"])
    assert not any(name in reading for name in ("ray", "torch", "boto3", "trashsweep["))
    assert "ray" not in " ".join(groups["training"]) and "boto3" not in " ".join(groups["search"])


def test_lock_covers_every_python_and_ends_with_this_package():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert lines[-1] == "-e ."
    assert "torch>=2.10,<2.15" in lines
    pinned = [line for line in lines if not line.startswith(("#", "torch", "-e"))]
    assert all("==" in line for line in pinned)
    assert not any(line.startswith("nvidia-") for line in lines)
    assert (3, 10) <= sys.version_info < (3, 14)
