import os
import signal
import subprocess
import sys
import time

import pytest

from search.ending.endings import CAUSES, SIGNALS
from search.ending.signals import EndedBySignalError, SetUp, heard, unheard_by_children
from tests.conftest import ROOT


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_before_the_trials_gives_up_what_is_done_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with pytest.raises(EndedBySignalError) as told, SetUp().heard():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert told.value.cause == SIGNALS[number]
    assert signal.getsignal(number) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_whose_exception_python_forgets_comes_again():
    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # here it is raised, printed and forgotten

    set_up, began = SetUp(), time.monotonic()
    with pytest.raises(EndedBySignalError), set_up.heard(), set_up.given_up():
        del (thing := [Thing()])[:]
        assert not thing
        time.sleep(20)
    assert time.monotonic() - began < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_that_was_lost_before_the_trials_is_told_once_to_what_handles_them():
    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)

    set_up, came = SetUp(), []
    with set_up.heard(), set_up.given_up():
        del (thing := [Thing()])[:]
        assert not thing
        with heard(lambda number, frame: came.append(number)):
            time.sleep(2.5)
    assert came == [signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_the_command_is_imported_is_one_line(number, tmp_path):
    code = (
        "import runpy, sys, types, time; waiting = types.ModuleType('search.session.command')\n"
        "waiting.main = lambda arguments: (print('ready', flush=True), time.sleep(20))[0]\n"
        "sys.modules['search.session.command'] = waiting; runpy.run_path('search/run.py', run_name='__main__')\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout and command.stdout.readline() == "ready\n"
    command.send_signal(number)
    end = CAUSES[SIGNALS[number]]
    assert command.communicate(timeout=20) == (f"{end.told}, before the first trial\n", "")
    assert command.returncode == end.status


def test_nothing_is_raised_where_python_takes_its_own_locks():
    set_up, came = SetUp(), []

    def at_a_bad_moment():
        came.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)  # a handler runs in this frame, and the signal comes again
        came.append(time.monotonic())

    code = compile("moment()", "<frozen importlib._bootstrap>", "exec")
    namespace = {"moment": at_a_bad_moment}
    bad = type(at_a_bad_moment)(
        at_a_bad_moment.__code__.replace(co_filename="<frozen importlib._bootstrap>"),
        globals(),
        None,
        None,
        at_a_bad_moment.__closure__,
    )
    namespace["moment"] = bad
    with pytest.raises(EndedBySignalError), set_up.heard(), set_up.given_up():
        exec(code, namespace)
        time.sleep(5)
    assert len(came) == 2 and time.monotonic() - came[0] < 3


def test_who_gives_up_is_told_before_it_is_cleaned_up():
    told = []
    with pytest.raises(EndedBySignalError), (set_up := SetUp(told.append)).heard(), set_up.given_up():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert told == ["ctrl-c"]


def test_cleaning_up_after_a_signal_is_left_alone():
    set_up, cleaned = SetUp(), []
    with pytest.raises(EndedBySignalError), set_up.heard():
        try:
            with set_up.given_up():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            cleaned.append(1)
    assert cleaned


def test_process_that_cannot_leave_says_so_and_ends():
    code = (
        "import os, signal, sys, threading, time; from search.ending import signals; signals.LEAVE_S = 2.0\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "set_up = signals.SetUp(lambda cause: print(cause, flush=True))\n"
        "with set_up.heard():\n"
        "    try:\n"
        "        with set_up.given_up(): time.sleep(20)\n"
        "    finally:\n"
        "        lock = threading.Lock(); lock.acquire(); lock.acquire()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "sigterm\n"), done.stderr


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SetUp().heard():
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
        "import sys; from search.ending.signals import LastingOutput; out = LastingOutput(sys.stdout)\n"
        "for _ in range(1000): out.write('x' * 1000); out.flush()\n"
        "sys.exit(3)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout and writer.stderr
    writer.stdout.read(10)
    writer.stdout.close()
    assert (writer.stderr.read(), writer.wait(20)) == (b"", 3)
    writer.stderr.close()
