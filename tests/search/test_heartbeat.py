import json
import os
import socket
import threading
import time

import pytest

from search import heartbeat
from search.heartbeat import Heartbeat, claimed, driver_state, process_start, request_stop
from trainable.artifacts import RunFolder
from trainable.remote import Remote


@pytest.fixture
def run(tmp_path):
    (tmp_path / "a").mkdir()
    return RunFolder(tmp_path / "a")


def told(run, **changes):
    facts = {"host": "elsewhere", "pid": 1, "process_started": 1, "seen": time.time()}
    (run.path / "driver.json").write_text(json.dumps({**facts, **changes}))


def test_run_is_driven_as_long_as_the_beat_lasts(run):
    assert driver_state(run) == heartbeat.UNKNOWN
    with Heartbeat(run, {"gpus": 2}, on_stop=lambda: None):
        assert driver_state(run) == heartbeat.RUNNING
        assert heartbeat.driver(run)["gpus"] == 2
        claimed(run)  # by the same process
    assert driver_state(run) == heartbeat.ENDED


def test_driver_of_another_host_is_gone_when_it_is_not_seen(run):
    told(run)
    assert driver_state(run) == heartbeat.RUNNING
    with pytest.raises(ValueError, match="run a is being driven by process 1 on elsewhere, last seen 0 s ago; stop"):
        claimed(run)
    told(run, seen=time.time() - heartbeat.FRESH_S - 1)
    assert driver_state(run) == heartbeat.GONE
    claimed(run)


def test_driver_of_this_host_is_known_by_its_process(run):
    here = {"host": socket.gethostname(), "pid": os.getppid()}
    told(run, **here, process_started=process_start(os.getppid()), seen=time.time() - 3600)  # it slept
    assert driver_state(run) == heartbeat.RUNNING
    told(run, **here, process_started=1)  # the number is another process's by now
    assert driver_state(run) == heartbeat.GONE


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seen": "x"}', "null"])
def test_damaged_beat_counts_as_none(run, content):
    (run.path / "driver.json").write_text(content)
    assert driver_state(run) == heartbeat.UNKNOWN


def test_stop_request_is_heard_once_and_taken_away(run):
    heard = threading.Event()
    with Heartbeat(run, {}, on_stop=heard.set):
        request_stop(run)
        assert heard.wait(10)
    assert not run.stop_requested()


def test_stop_request_on_s3_is_heard_and_does_not_stop_the_next_search(run, s3):
    run = RunFolder(run.path, "s3://bucket/runs/a")
    remote = Remote(run.uri)
    heard = threading.Event()
    with Heartbeat(run) as beat:
        remote.write("stop.json", b'{"asked": 1.0}')  # by `search/status.py`, before the trials begin
        beat.drive({"gpus": 1}, heard.set)
        assert heard.wait(10)
        assert json.loads(remote.read("driver.json"))["gpus"] == 1
    assert json.loads(remote.read("stop.json")) == {"asked": None}
    remote.write("stop.json", b'{"asked": 1.0}')  # its search was killed before it could
    heard.clear()
    with Heartbeat(run, on_stop=heard.set):
        assert not heard.wait(heartbeat.BEAT_S + 2)


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
    with Heartbeat(run, {}, on_stop=heard.set):
        assert not heard.wait(1.5)
