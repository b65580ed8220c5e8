"""The measurements on a GPU: here whether their script works, on a CPU and on demo data."""

import argparse
import importlib
import json
import subprocess
import sys

import pytest

from benchmarks.gpu.__main__ import RESULTS, SECTIONS, run_section
from tests.conftest import ROOT


@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_is_where_the_table_says(name):
    assert callable(getattr(importlib.import_module(f"benchmarks.gpu.{SECTIONS[name][0]}"), name))


def test_a_section_that_is_too_slow_is_ended(tmp_path):
    options = argparse.Namespace(
        data=tmp_path, out=tmp_path, cache_dir=tmp_path, encoder_weights=tmp_path / "weights", tiny=True
    )
    assert run_section("steps", options, tmp_path, 0.01) == "ended after its 0 s"
    assert not (tmp_path / RESULTS).exists()


@pytest.mark.slow
def test_figures_are_kept_and_come_last(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--only", "steps"]
    command += ["--out", str(tmp_path), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert {"plain", "tuned", "ours"} <= {each["way"] for each in figures}
    assert all(each["photos_per_s"] > 0 for each in figures)
    assert [json.loads(line) for line in (tmp_path / RESULTS).read_text().splitlines()] == figures
    assert {each.name for each in (tmp_path / "cache").iterdir() if each.name.startswith("gpu-")} == set()
