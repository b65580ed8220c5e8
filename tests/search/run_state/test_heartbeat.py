import json
import os
import socket
import threading
import time

import pytest

from search.run_state import driver_claim as claim
from search.run_state import heartbeat
from search.run_state.driver_claim import claim_run
from search.run_state.driver_record import Share
from search.run_state.heartbeat import Heartbeat, claimed, driver_state, request_stop
from search.run_state.process import Identity, process_start
from trainable.run_folder.folders import RunFolder
from trainable.storage.remote import Remote


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Four beats take two seconds."""
    for module, name, seconds in ((claim, "BEAT_S", 0.5), (claim, "WATCH_S", 2.0), (heartbeat, "BEAT_S", 0.5)):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "a").mkdir()
    return RunFolder(tmp_path / "a")


def told(run, **changes):
    facts = {"host": "elsewhere", "pid": 1, "process_started": 1, "seen": time.time()}
    (run.path / "driver.json").write_text(json.dumps({**facts, **changes}))


def beating(run, over, **changes):
    """Have a driver of elsewhere beat until it is over."""

    def beat():
        count = 0
        while not over.wait(0.3):
            count += 1
            told(run, beat=count, **changes)

    thread = threading.Thread(target=beat)
    thread.start()
    return thread


def test_run_is_driven_as_long_as_the_beat_lasts(run):
    assert driver_state(run) == heartbeat.UNKNOWN
    with Heartbeat(run, Share(gpus=2), on_stop=lambda: None):
        assert driver_state(run) == heartbeat.RUNNING
        assert heartbeat.driver(run).gpus == 2
        with pytest.raises(ValueError, match=f"run a is being driven by process {os.getpid()} on .*, last seen"):
            claimed(run)
    assert driver_state(run) == heartbeat.ENDED
    with claimed(run):
        assert driver_state(run) == heartbeat.RUNNING


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600, 90 * 86_400])
def test_driver_of_another_host_lives_while_its_beat_changes_whatever_its_clock(run, ahead_s):
    over = threading.Event()
    told(run, seen=time.time() + ahead_s)
    thread = beating(run, over, seen=time.time() + ahead_s)
    try:
        assert driver_state(run) == heartbeat.RUNNING
        with pytest.raises(ValueError, match="run a is being driven by process 1 on elsewhere"):
            claimed(run)
    finally:
        over.set()
        thread.join()
    said = []
    claimed(run, said.append)
    assert said == ["process 1 on elsewhere drove run a: seeing for 2 s whether it still does"]


@pytest.mark.parametrize("seconds", [3600, -3600, -90 * 86_400])
def test_beat_that_does_not_change_is_no_sign_of_life(run, seconds):
    told(run, seen=time.time() + seconds)
    assert driver_state(run) == heartbeat.GONE
    claimed(run)


def test_driver_of_this_host_is_known_by_its_process(run):
    here = {**Identity.here().content(), "pid": os.getppid(), "process_started": process_start(os.getppid())}
    told(run, **here, seen=time.time() - 3600)  # it slept
    assert driver_state(run) == heartbeat.RUNNING
    with pytest.raises(ValueError, match="is being driven"):
        claimed(run)
    told(run, **{**here, "process_started": 1})  # the number is another process's by now
    assert driver_state(run) == heartbeat.GONE


@pytest.mark.parametrize("other", [{"pid_namespace": "pid:[1]"}, {"boot": "another"}])
def test_equal_host_and_process_number_in_another_container_are_another_process(run, other):
    """Two containers of one image: the same host name, the same first process."""
    over = threading.Event()
    same = {**Identity.here().content(), "process_started": 1, **other}
    told(run, **same)
    thread = beating(run, over, **same)
    try:
        with pytest.raises(ValueError, match="is being driven"):
            claimed(run)
    finally:
        over.set()
        thread.join()
    claimed(run)


def test_heartbeat_of_an_earlier_version_is_read(run):
    here = {"host": socket.gethostname(), "pid": os.getppid()}
    told(run, **here, process_started=process_start(os.getppid()), seen=time.time() - 3600)
    assert driver_state(run) == heartbeat.RUNNING
    told(run, **here, process_started=1, ended=time.time())
    assert driver_state(run) == heartbeat.ENDED


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seen": "x"}', "null", '{"seen": 1, "claim": "x"}'])
def test_damaged_beat_counts_as_none(run, content):
    (run.path / "driver.json").write_text(content)
    assert driver_state(run) == heartbeat.UNKNOWN
    claimed(run)


def test_copy_of_a_run_that_is_driven_is_another_run(run, tmp_path):
    import shutil

    with Heartbeat(run):
        shutil.copytree(run.path, tmp_path / "b")
        with claimed(RunFolder(tmp_path / "b")):
            assert heartbeat.driver(RunFolder(tmp_path / "b")).folder == (tmp_path / "b").stat().st_ino
        run.path.rename(tmp_path / "c")  # the folder stays the same one
        with pytest.raises(ValueError, match="run c is being driven"):
            claimed(RunFolder(tmp_path / "c"))


def test_driver_that_was_frozen_while_another_took_over_hears_of_it_and_writes_nothing(run):
    heard = threading.Event()
    with Heartbeat(run) as beat:
        beat.drive(Share(), lambda: None, heard.set)
        (run.path / ".driver-7.claim").write_text("{}")  # what another host made of a beat that stood still
        told(run, claim=7)
        assert heard.wait(10)
    assert heartbeat.driver(run).host == "elsewhere"
    assert heartbeat.driver(run).ended is None


def test_stop_request_is_heard_once_and_taken_away(run):
    heard = threading.Event()
    with Heartbeat(run, Share(), on_stop=heard.set):
        request_stop(run)
        assert heard.wait(10)
    assert not run.stop_requested()


def test_stop_request_on_s3_is_heard_and_does_not_stop_the_next_search(run, s3):
    run = RunFolder(run.path, "s3://bucket/runs/a")
    remote = Remote(run.uri)
    heard = threading.Event()
    with Heartbeat(run) as beat:
        remote.write("stop.json", b'{"asked": 1.0}')  # by `search/status.py`, before the trials begin
        beat.drive(Share(gpus=1), heard.set, lambda: None)
        assert heard.wait(10)
        assert json.loads(remote.read("driver.json"))["gpus"] == 1
        with pytest.raises(ValueError, match="is being driven"):
            claim_run(run)
    assert json.loads(remote.read("stop.json")) == {"asked": None}
    remote.write("stop.json", b'{"asked": 1.0}')  # its search was killed before it could
    heard.clear()
    with Heartbeat(run, on_stop=heard.set):
        assert not heard.wait(3)


def test_run_that_goes_on_is_claimed_before_its_search_has_started(run):
    with claimed(run):
        assert driver_state(run) == heartbeat.RUNNING
        assert not run.stop_requested()
        request_stop(run)  # waits for whom it can be told
        time.sleep(1.5)
        assert run.stop_requested()


def test_old_stop_request_does_not_stop_the_next_search(run):
    request_stop(run)
    heard = threading.Event()
    with Heartbeat(run, Share(), on_stop=heard.set):
        assert not heard.wait(1.5)
