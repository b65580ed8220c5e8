"""How the driver ends a run: by each signal, a stop request, a budget, an error of its own, a Ray that is gone."""

import io
import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.callbacks.trial_states import RecordStates
from search.driver.lifecycle import Driver
from search.ending import endings as ends
from search.ending.endings import ENDS, SIGNALS
from search.run import main
from search.run_state.driver_record import Share
from search.run_state.heartbeat import claimed, driver, request_stop
from search.run_state.run_status import status_of
from search.settings.budget import Budget, Clock
from search.worker.messages import Assignment
from spaces.own import OwnSpaceError
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import INTERRUPTED, RUNNING
from trainable.storage.atomic_write import write_json


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.trial(0).path.mkdir(parents=True)
    folder.trial(0).write_status(RUNNING)
    write_json(folder.path / "search.json", {"plan": {"trials": 2, "base": {"epochs": 3}}})
    return folder


@pytest.fixture
def lost(monkeypatch):
    """Whether Ray is gone, to be set."""
    gone = threading.Event()
    monkeypatch.setattr("search.cluster.ray_cluster.RayWatch", lambda: SimpleNamespace(lost=gone.is_set))
    return gone


def driven(run, trials, clock=None, record=None):
    """Drive made-up trials; returns the exit status and what was printed."""
    out = io.StringIO()
    record = record or RecordStates(run, 3)
    record.started.setdefault("t0", 0.0)  # one has begun
    made = Driver(run, record, Console(file=out, width=200), clock)

    def finish():
        return made.decide(left=2, sound=False, limited=False)

    with claimed(run) as beat:
        return made.drive(Share(), beat, lambda: trials(record), finish), out.getvalue()


def sends(*numbers, wait=0.2):
    """Return trials that go on for ever, while signals come."""

    def trials(record):
        for number in numbers:
            threading.Timer(wait, os.kill, (os.getpid(), number)).start()
            time.sleep(2 * wait)
        time.sleep(20)

    return trials


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_asks_the_trials_to_save_and_gives_the_status_of_the_table(run, lost, number):
    asked = []

    def trials(record):
        record.running.add("t0")
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        while not run.stop_requested():
            time.sleep(0.02)
        asked.append(1)
        record.halted.add("t0")
        time.sleep(20)

    began = time.monotonic()
    status, out = driven(run, trials)
    end = ends.CAUSES[SIGNALS[number]]
    assert status == end.status == 128 + number
    assert asked and time.monotonic() - began < 10
    assert f"{end.told}: running trials save where they are" in out
    assert driver(run).end == end.name
    assert not run.stop_requested()


def test_second_signal_does_not_wait_for_the_trials(run, lost):
    record = RecordStates(run, 3)
    record.running.add("t0")  # and never saves
    began = time.monotonic()
    status, _ = driven(run, sends(signal.SIGINT, signal.SIGINT), record=record)
    assert status == 130
    assert driver(run).end == ends.INTERRUPTED_AT_ONCE.name
    assert time.monotonic() - began < 4


def test_ctrl_c_in_a_search_with_a_budget_is_no_budget_that_is_spent(run, lost):
    status, out = driven(run, sends(signal.SIGINT), Clock(Budget("--until 2h", 7200.0, None)))
    assert status == 130
    assert "spent" not in out


def test_budget_that_is_over_at_once_is_one_plain_line(run, lost, capsys):
    status, out = driven(run, lambda record: time.sleep(20), Clock(Budget("--gpu-hours 0.0002", 0.1, None)))
    assert status == 0
    assert driver(run).end == ends.SPENT.name
    assert out == ""  # nothing runs that could save; the last line is `finish`'s
    assert capsys.readouterr().err == ""
    assert status_of(run).told.startswith("--gpu-hours 0.0002 is spent, 0 s ago; go on with: python search/run.py")


def test_stop_request_ends_it(run, lost):
    def trials(record):
        request_stop(run)
        time.sleep(20)

    assert driven(run, trials)[0] == ends.STOPPED.status
    assert driver(run).end == ends.STOPPED.name


def test_own_error_is_a_bug_even_where_all_trials_have_ended(run, lost, capsys):
    def trials(record):
        raise KeyError("no such thing")

    assert driven(run, trials)[0] == ends.BUG.status == 1
    assert driver(run).end == ends.BUG.name
    assert "KeyError: 'no such thing'" in capsys.readouterr().err
    assert ends.decide(ends.Facts(left=0, sound=True, failed=True)) is ends.BUG


def test_a_function_of_the_users_own_that_fails_is_no_bug(run, lost, capsys):
    def trials(record):
        raise OwnSpaceError("--space my.py:f raised ZeroDivisionError")

    assert driven(run, trials)[0] == ends.OWN_SPACE.status == 1
    assert status_of(run).told.startswith("a function of your own failed: --space my.py:f raised ZeroDivisionError, ")
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_wrong_with_a_run_before_its_first_trial_is_no_bug(run, lost):
    def trials(record):
        record.started.clear()
        raise ValueError("the study cannot be read")

    with pytest.raises(ValueError, match="the study cannot be read"):
        driven(run, trials)


@pytest.mark.parametrize("raises", [False, True])
def test_ray_that_is_gone_is_noticed_and_is_no_bug(run, lost, capsys, raises):
    def trials(record):
        lost.set()
        if raises:
            raise RuntimeError("Ray does not answer")
        time.sleep(20)

    assert driven(run, trials)[0] == ends.LOST_RAY.status
    assert driver(run).end == ends.LOST_RAY.name
    assert capsys.readouterr().err == ""


def result(record, trial_id, number, **result):
    trial = SimpleNamespace(trial_id=trial_id, config=Assignment(number, {}, False).sent())
    record.on_trial_result(0, [], trial, result)


def excused(record, number, error):
    """Begin a trial three times, each ended by an error that is no fault of it; returns it."""
    trial = SimpleNamespace(
        trial_id=f"t{number}", config=Assignment(number, {}, False).sent(), error_file=None, last_result={}
    )
    for _ in range(3):
        record.on_trial_start(0, [], trial)
        record.on_trial_result(0, [], trial, {"excused": error})
        record.on_trial_recover(0, [], trial)
    return trial


def test_trial_that_misses_a_file_waits_and_three_in_a_row_end_the_search(run, lost):
    record = RecordStates(run, 3)

    def trials(record):
        record.running.add("other")
        for number in range(3):
            record.on_trial_complete(0, [], excused(record, number, "FileNotFoundError: no weights"))
        time.sleep(0.3)
        record.running.clear()
        time.sleep(20)

    status, out = driven(run, trials, record=record)
    assert status == ends.WAITING.status == 1
    assert "by no fault of theirs (FileNotFoundError: no weights)" in out
    for number in range(3):
        told = run.trial(number).status()
        assert told.state == INTERRUPTED and run.trial(number).waits
        assert told.reason == "FileNotFoundError: no weights, 3 times in a row"


def test_epoch_between_two_that_wait_goes_on(run, lost):
    record, stuck = RecordStates(run, 3), []
    record.stuck = lambda: stuck.append(1)
    for number in range(4):
        excused(record, number, "OSError: no answer")
        if number == 1:
            result(record, "other", 9, epoch=1, val_miou=0.1)
    assert not stuck and len(record.waiting) == 4


FACTS = {
    "FINISHED": {"left": 0, "sound": True}, "ALL_FAILED": {"left": 0, "sound": False},
    "SPENT": {"left": 3, "sound": True, "cause": ends.BUDGET},
    "TOO_LITTLE": {"left": 3, "sound": True, "limited": True},
    "INTERRUPTED": {"left": 3, "sound": True, "cause": ends.CTRL_C, "limited": True},
    "INTERRUPTED_AT_ONCE": {"left": 3, "sound": True, "cause": ends.CTRL_C, "at_once": True},
    "TERMINATED": {"left": 3, "sound": True, "cause": ends.SIGTERM, "waiting": 1},
    "HUNG_UP": {"left": 3, "sound": True, "cause": ends.SIGHUP},
    "STOPPED": {"left": 1, "sound": True, "cause": ends.ASKED},
    "WAITING": {"left": 1, "sound": True, "waiting": 1, "limited": True},
    "LOST_RAY": {"left": 1, "sound": False, "cause": ends.LOST}, "BUG": {"left": 1, "sound": True},
    "OWN_SPACE": {"left": 1, "sound": True, "own_space": True, "cause": ends.BUDGET},
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_facts_decide_the_end(name):
    assert ends.decide(ends.Facts(**FACTS[name])) is getattr(ends, name)


def test_nothing_but_the_clock_or_a_refusal_is_a_spent_budget_and_nothing_left_is_no_interruption():
    spent = {ends.SPENT, ends.TOO_LITTLE}
    for cause in ("", *ends.CAUSES):
        for limited in (False, True):
            for waiting in (0, 1):
                for failed in (False, True):
                    facts = {"sound": True, "cause": cause, "limited": limited, "waiting": waiting, "failed": failed}
                    end = ends.decide(ends.Facts(left=2, **facts))
                    by_time = cause == ends.BUDGET or (not cause and limited)
                    assert (end in spent) == (by_time and not waiting and not failed)
                    assert (end.status == 0) == (end in spent)
                    assert ends.decide(ends.Facts(left=0, **facts)) is (ends.BUG if failed else ends.FINISHED)


def test_every_end_is_told_apart_and_the_documents_have_the_table():
    assert len({each.name for each in ENDS}) == len(ENDS)
    from tests.conftest import ROOT

    assert ends.table() in (ROOT / "docs" / "reliability.md").read_text()


def test_what_was_heard_is_in_the_record(run, lost):
    driven(run, sends(signal.SIGTERM))
    assert json.loads((run.path / "driver.json").read_text())["why"] == "ended by SIGTERM"
    assert "ended by SIGTERM, 0 s ago" in status_of(run).told


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_before_the_first_trial_is_one_line(tmp_path, photos, monkeypatch, capsys, number):
    def read(data, classes):
        os.kill(os.getpid(), number)
        time.sleep(20)

    monkeypatch.setattr("search.session.command_checks.read_data", read)
    status = main(["--data", str(photos), "--runs-dir", str(tmp_path / "runs")])
    told = capsys.readouterr()
    end = ends.CAUSES[SIGNALS[number]]
    assert (status, told.err, told.out) == (end.status, "", f"{end.told}, before the first trial\n")
    assert not (tmp_path / "runs").exists()


def test_own_error_before_the_first_trial_is_a_bug(tmp_path, photos, monkeypatch, capsys):
    monkeypatch.setattr("search.session.command_checks.read_data", lambda data, classes: data.no_such_thing)
    status = main(["--data", str(photos), "--runs-dir", str(tmp_path / "runs")])
    told = capsys.readouterr()
    assert status == 1
    assert "AttributeError" in told.err
    assert told.out == f"{ends.BUG.told}; nothing was trained\n"
