"""Several real processes claim one run at the same moment."""

import json
import subprocess
import sys
import time

import pytest

from search import claim
from search.claim import take
from tests.conftest import ROOT
from trainable import exclusive
from trainable.artifacts import RunFolder
from trainable.remote import Remote

CLAIMER = """
import sys, time
from pathlib import Path
from search import claim
from trainable import exclusive
from trainable.artifacts import RunFolder
claim.WATCH_S = 1.0
exclusive.SETTLED_S = 1.0
if sys.argv[4] == "elsewhere":
    claim.is_alive = lambda told: None  # as between hosts
run = RunFolder(Path(sys.argv[1]), sys.argv[2] or None)
print("ready", flush=True)
time.sleep(max(float(sys.argv[3]) - time.time(), 0))
try:
    held = claim.take(run)
except claim.DrivenError:
    print("driven")
else:
    print("held", held.number, flush=True)
    if sys.argv[4] != "elsewhere":
        sys.stdin.read()
    else:
        from search.heartbeat import Heartbeat
        with Heartbeat(run, held=held):
            sys.stdin.read()
"""


def contend(run, count, where="here"):
    """Return what each of several processes says that claim a run at once; the winner lives until the others have."""
    start = time.time() + 2.5
    given = [sys.executable, "-c", CLAIMER, str(run.path), run.uri or "", str(start), where]
    processes = [subprocess.Popen(given, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                 for _ in range(count)]  # fmt: skip
    said = []
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        said.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate()
    return sorted(said)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "a").mkdir()
    return RunFolder(tmp_path / "a")


def test_one_of_those_who_claim_at_once_drives(run):
    assert contend(run, 6) == ["driven"] * 5 + ["held 1"]
    assert contend(run, 6) == ["driven"] * 5 + ["held 2"]  # the first is dead now
    assert [path.name for path in run.path.iterdir()] == [".driver-2.claim"]


def test_one_of_those_who_watch_a_dead_driver_of_elsewhere_takes_over(run):
    (run.path / ".driver-3.claim").write_text("{}")
    (run.path / "driver.json").write_text(json.dumps({"claim": 3, "host": "x", "pid": 1, "seen": time.time() + 3600}))
    assert contend(run, 4, "elsewhere") == ["driven"] * 3 + ["held 4"]


def test_one_of_those_who_claim_a_run_on_s3_drives(run, s3):
    assert contend(RunFolder(run.path, "s3://bucket/runs/a"), 3) == ["driven"] * 2 + ["held 1"]
    assert Remote("s3://bucket/runs/a").names() == [".driver-1.claim"]


def test_number_that_a_later_holder_has_removed_is_no_claim(run, monkeypatch):
    """A process that was frozen between looking and claiming."""
    (run.path / ".driver-9.claim").write_text("{}")
    assert not claim._create(run, 4)
    assert [path.name for path in run.path.iterdir()] == [".driver-9.claim"]


def test_file_is_created_once(tmp_path, s3, monkeypatch):
    monkeypatch.setattr(exclusive, "SETTLED_S", 0.0)
    assert exclusive.create(tmp_path, "x", b"1")
    assert not exclusive.create(tmp_path, "x", b"2")
    for uri in (f"file://{tmp_path}/there", "s3://bucket/there"):
        assert exclusive.create_at(Remote(uri), "x", b"1")
        assert not exclusive.create_at(Remote(uri), "x", b"2")
        assert Remote(uri).read("x") == b"1"


def test_claim_is_lost_to_a_higher_one(run):
    held = take(run)
    assert not held.lost()
    (run.path / ".driver-2.claim").write_text("{}")
    assert held.lost()
