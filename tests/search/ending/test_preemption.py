"""What makes a worker save and stop, and who may train in a folder."""

import http.server
import json
import os
import signal
import threading
import time

import pytest

from search.ending.preemption import SPOT_NOTICE, Halting, listen, spot_notice
from search.worker.lease import Claim, SupersededError, release
from trainable.run_folder.folders import TrialFolder


@pytest.fixture
def metadata():
    """AWS's metadata service (IMDSv2) on loopback; with a notice once `.notice` is set."""

    class Service(http.server.BaseHTTPRequestHandler):
        notice = None

        def do_PUT(self):
            assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
            self.answer(200, b"the-token")

        def do_GET(self):
            right = self.headers["X-aws-ec2-metadata-token"] == "the-token"
            known = self.path == "/latest/meta-data/spot/instance-action" and Service.notice
            self.answer(200 if right and known else 404 if right else 401, json.dumps(Service.notice).encode())

        def answer(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Service.address = f"http://127.0.0.1:{server.server_port}"
    yield Service
    server.shutdown()
    thread.join()
    server.server_close()


def wait_for(halting):
    deadline = time.monotonic() + 10
    while halting() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return halting()


def test_spot_notice_is_found(metadata, monkeypatch):
    assert spot_notice(metadata.address) is None
    monkeypatch.setenv(SPOT_NOTICE, metadata.address)
    metadata.notice = {"action": "terminate", "time": "2026-01-01T00:02:00Z"}
    with Halting(lambda: False) as halting:
        assert wait_for(halting) == "its spot node goes away (terminate at 2026-01-01T00:02:00Z)"
        assert not halting.transient  # it waits there for its end, and is not tried on the node again


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://127.0.0.1:1/x"])
def test_no_metadata_service_is_no_notice(address):
    assert spot_notice(address) is None


def test_sigterm_halts_the_training_and_only_that():
    before, others = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, lambda *_: others.append(1))
    try:
        listen()
        listen()
        with Halting(lambda: False) as halting:
            assert halting() is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert wait_for(halting) == "its process got SIGTERM"
            assert halting.transient
        assert others == []
        os.kill(os.getpid(), signal.SIGTERM)  # now none trains: it goes where it went before
        assert others == [1]
        with Halting(lambda: False) as halting:
            assert halting() is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_search_that_stops_halts_its_trainings():
    stops = threading.Event()
    with Halting(stops.is_set) as halting:
        stops.set()
        assert wait_for(halting) == "the search is to stop"


def test_last_to_claim_a_folder_has_it(tmp_path):
    folder = TrialFolder(tmp_path / "0000")
    frozen = Claim(folder)
    frozen.check()
    other = Claim(folder)
    other.check()
    with pytest.raises(SupersededError, match="is trained by"):
        frozen.check()
    release(folder)
    with pytest.raises(SupersededError, match="the trial has ended"):
        other.check()
