import os
import subprocess
import sys

import pytest
from rich.table import Table

from tests.conftest import ROOT
from trainable.machine.terminal import error_console, open_console


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "utf-8"])
def test_whatever_the_encoding_lacks_is_printed_with_replacements(encoding):
    text = 'from trainable.machine.terminal import open_console; open_console().print("0.3 ± 0.1 [한글]")'
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    name = encoding.partition(":")[0]
    assert done.stdout == "0.3 ± 0.1 [한글]\n".encode(name, errors="replace")


@pytest.mark.parametrize("opened", [open_console, error_console])
def test_what_users_call_things_is_printed_as_it_is(opened, capsys):
    told = "--space my.py:x: there is no [red]file :smile:"
    opened().print(told, soft_wrap=True)
    opened().print(Table(told))
    out = capsys.readouterr()
    assert (out.out + out.err).count(told) == 2


def test_no_other_place_opens_a_console():
    files = [
        path for package in ("trainable", "search", "analysis", "trashsweep") for path in (ROOT / package).rglob("*.py")
    ]
    assert [path.name for path in files if " Console(" in path.read_text()] == ["terminal.py"]


def test_closed_streams_lead_nowhere():
    text = (
        'import sys; from trainable.machine.terminal import open_console; open_console(wide=True).print("x"); '
        'print("y", file=sys.stderr); print("z"); sys.exit(3)'
    )
    command = f"{sys.executable} -c '{text}' >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=ROOT).returncode == 3
