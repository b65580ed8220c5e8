import os
import signal
import subprocess
import sys
import time

import pytest

from search.ends import SIGNALS
from search.signals import EndedBySignalError, heard, raise_cause, unheard_by_children
from tests.conftest import ROOT


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_before_the_trials_gives_up_what_is_done_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with pytest.raises(EndedBySignalError) as told, heard(raise_cause):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert told.value.cause == SIGNALS[number]
    assert signal.getsignal(number) == before


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heard(raise_cause):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_children_do_not_hear_what_ends_the_search():
    with unheard_by_children():
        child = subprocess.Popen(["sleep", "60"])
    for number in (signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)
    time.sleep(0.2)
    assert child.poll() is None
    child.kill()
    child.wait()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGHUP}


def test_output_outlives_its_reader():
    code = (
        "import sys; from search.signals import LastingOutput; out = LastingOutput(sys.stdout)\n"
        "for _ in range(1000): out.write('x' * 1000); out.flush()\n"
        "sys.exit(3)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout and writer.stderr
    writer.stdout.read(10)
    writer.stdout.close()
    assert (writer.stderr.read(), writer.wait(20)) == (b"", 3)
    writer.stderr.close()
