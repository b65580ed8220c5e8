"""The API by one name."""

import os
import subprocess
import sys

import pytest

import trashsweep
from tests.conftest import ROOT


def run(script):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)


def test_names_are_those_of_the_longer_imports():
    from analysis.api import Run, open_run
    from search.api import SearchEndedError, search

    assert (trashsweep.Run, trashsweep.open_run) == (Run, open_run)
    assert (trashsweep.SearchEndedError, trashsweep.search) == (SearchEndedError, search)
    assert {*trashsweep.__all__} <= {*dir(trashsweep)}
    with pytest.raises(AttributeError, match="no attribute 'serch'; it has Run, SearchEndedError, open_run, search"):
        _ = trashsweep.serch


def test_nothing_is_imported_before_a_name_is_asked_for(tmp_path):
    script = tmp_path / "asks.py"
    script.write_text(
        "import sys, trashsweep\nsys.exit(str({'search', 'analysis', 'optuna', 'ray'} & set(sys.modules) or '') or 0)\n"
    )
    assert run(script).returncode == 0


def test_a_users_files_may_be_called_like_our_packages(tmp_path):
    (tmp_path / "search.py").write_text("raise SystemExit('not this one')\n")
    script = tmp_path / "analysis.py"
    script.write_text("from trashsweep import open_run, search\nprint(open_run.__module__, search.__module__)\n")
    done = run(script)
    assert done.stdout == "analysis.api search.api\n", done.stderr


def test_a_package_that_is_hidden_already_is_named(tmp_path):
    (tmp_path / "search.py").write_text("")
    script = tmp_path / "mine.py"
    script.write_text("import search\nfrom trashsweep import open_run\n")
    done = run(script)
    assert f"package search is hidden by {tmp_path}/search.py, which was imported before; rename that" in done.stderr
