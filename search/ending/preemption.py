"""Tells a training in a worker to save its state and stop: its process or node is to end, or the whole search is."""

import contextlib
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from search.ending.signals import hear_again

SPOT_NOTICE = "TRASHSWEEP_SPOT_NOTICE"
"""Environment variable with the address of the cloud's metadata service, http://169.254.169.254 on AWS."""

POLL_S = 1.0
SPOT_POLL_S = 5.0

_signalled = threading.Event()
_training = threading.Event()


def listen() -> None:
    """Have SIGTERM halt the training that runs in this process, if one does. Called in the main thread."""
    if getattr(signal.getsignal(signal.SIGTERM), "halts", False):
        return
    hear_again()
    before = signal.getsignal(signal.SIGTERM)

    def on_signal(number: int, frame: Any) -> None:
        if _training.is_set():
            _signalled.set()
        elif callable(before):
            before(number, frame)

    on_signal.halts = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, on_signal)


class Halting:
    """A context in which a training runs; calling it tells why it is to stop now, or None."""

    def __init__(self, search_stops: Callable[[], bool]):
        """Look out for SIGTERM, the notice that a spot node goes away, and `search_stops`, which is asked each second.

        What reaches this process alone is `transient`: the training can go on in another. For the others it need not
        be tried here again.
        """
        self.search_stops = search_stops
        self.reason: str | None = None
        self.transient = False
        self.over = threading.Event()

    def __enter__(self) -> "Halting":
        _signalled.clear()
        _training.set()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        _training.clear()
        self.over.set()

    def __call__(self) -> str | None:
        """Return why the training is to stop now, or None."""
        if _signalled.is_set() and self.reason is None:
            self.reason, self.transient = "its process got SIGTERM", True
        return self.reason

    def _watch(self) -> None:
        spot, waited = os.environ.get(SPOT_NOTICE), SPOT_POLL_S
        while self.reason is None:
            with contextlib.suppress(OSError):  # storage that does not answer is asked again
                if self.search_stops():
                    self.reason = "the search is to stop"
            if self.reason is None and spot and waited >= SPOT_POLL_S:
                waited = 0.0
                self.reason = spot_notice(spot)
            if self.over.wait(POLL_S):
                return
            waited += POLL_S


def spot_notice(address: str) -> str | None:
    """Return what a cloud's metadata service says of the end of this node (AWS, IMDSv2), or None."""
    header = "X-aws-ec2-metadata-token"
    lasting = {f"{header}-ttl-seconds": "60"}
    try:
        ask = urllib.request.Request(f"{address}/latest/api/token", method="PUT", headers=lasting)
        with urllib.request.urlopen(ask, timeout=2) as answer:
            token = answer.read().decode()
        ask = urllib.request.Request(f"{address}/latest/meta-data/spot/instance-action", headers={header: token})
        with urllib.request.urlopen(ask, timeout=2) as answer:
            notice = json.loads(answer.read())
    except (urllib.error.URLError, TimeoutError, OSError, ValueError):
        return None  # 404 as long as the node stays
    return f"its spot node goes away ({notice.get('action', 'terminate')} at {notice.get('time', '?')})"
