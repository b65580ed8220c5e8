"""Several real processes claim one run at the same moment."""

import json
import multiprocessing
import subprocess
import sys
import time

import pytest

from search.run_state import driver_claim as claim
from search.run_state import heartbeat
from search.run_state.driver_claim import claim_run
from search.run_state.heartbeat import Heartbeat
from tests.conftest import ROOT
from trainable.run_folder.folders import RunFolder
from trainable.storage import exclusive_file as exclusive
from trainable.storage.remote import Remote

FORK = multiprocessing.get_context("fork")


def claimer(run, where, barrier, said, over):
    """Claim the run when all are there; the winner lives until it is over."""
    if where == "elsewhere":
        claim.DriverRecord.alive = lambda self: None  # as between hosts
    barrier.wait()
    try:
        held = claim.claim_run(run)
    except claim.DrivenError:
        said.put("driven")
        return
    said.put(f"held {held.number}")
    with Heartbeat(run, held=held):
        while not over.exists():
            time.sleep(0.05)


def contend(run, count, where="here"):
    """Return what each of several processes says that claim a run at once."""
    barrier, said, over = FORK.Barrier(count), FORK.Queue(), run.path.parent / "over"
    over.unlink(missing_ok=True)
    processes = [FORK.Process(target=claimer, args=(run, where, barrier, said, over)) for _ in range(count)]
    for process in processes:
        process.start()
    told = sorted(said.get(timeout=60) for _ in processes)
    for process in processes:  # killed: their claims stay
        if process.is_alive() and where == "here":
            process.kill()
    over.touch()
    for process in processes:
        process.join()
    return told


CLAIMER = """
import sys
from pathlib import Path
from search.run_state import driver_claim as claim
from trainable.run_folder.folders import RunFolder
print("ready", flush=True)
sys.stdin.readline()
try:
    print("held", claim.claim_run(RunFolder(Path(sys.argv[1]), sys.argv[2])).number, flush=True)
except claim.DrivenError:
    print("driven", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Four beats take two seconds."""
    for module, name, seconds in ((claim, "WATCH_S", 2.0), (heartbeat, "BEAT_S", 0.5)):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "a").mkdir()
    return RunFolder(tmp_path / "a")


def test_one_of_those_who_claim_at_once_drives(run):
    assert contend(run, 6) == ["driven"] * 5 + ["held 1"]
    assert contend(run, 6) == ["driven"] * 5 + ["held 2"]  # the first is dead now
    assert [path.name for path in run.path.glob("*.claim")] == [".driver-2.claim"]


def test_one_of_those_who_watch_a_dead_driver_of_elsewhere_takes_over(run):
    (run.path / ".driver-3.claim").write_text("{}")
    (run.path / "driver.json").write_text(json.dumps({"claim": 3, "host": "x", "pid": 1, "seen": time.time() + 3600}))
    assert contend(run, 4, "elsewhere") == ["driven"] * 3 + ["held 4"]


@pytest.mark.slow
def test_one_of_those_who_claim_a_run_on_s3_drives(run, s3):
    """The server knows no conditional requests."""
    given = [sys.executable, "-c", CLAIMER, str(run.path), "s3://bucket/runs/a"]
    processes = [
        subprocess.Popen(given, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sorted(process.stdout.readline() for process in processes) == ["driven\n"] * 2 + ["held 1\n"]
    for process in processes:
        process.communicate("over\n")


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
    held = claim_run(run)
    assert not held.lost()
    (run.path / ".driver-2.claim").write_text("{}")
    assert held.lost()
