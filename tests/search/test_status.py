import json
import os
import threading
import time
from dataclasses import asdict, replace

import pytest

from search.run_state.chain_record import Chain, write_chain
from search.run_state.driver_record import Share
from search.run_state.heartbeat import Heartbeat, claimed
from search.run_state.past_usage import Held, Usage
from search.run_state.run_status import show_span, status_of
from search.settings.phase_names import PROMOTE, SEARCH
from search.status import main
from tests.search.run_state.test_leaderboard import add_trial
from trainable.run_folder.chain_phases import Phase
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, RUNNING, STOPPED
from trainable.storage.atomic_write import write_json


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def make(runs, name, trials=5):
    run = RunFolder(runs / name)
    run.path.mkdir(parents=True)
    write_json(run.path / "search.json", {"plan": {"trials": trials, "base": {"epochs": 4}}})
    add_trial(run, 0, FINISHED, [0.1, 0.3, 0.2, 0.25])
    add_trial(run, 1, STOPPED, [0.05])
    add_trial(run, 2, FAILED, [], "ValueError: no [/x]")
    add_trial(run, 3, RUNNING, [0.2])
    return run


SHARE = Share(concurrent=2, gpus_per_trial=0.5)


def test_running_search_is_shown_whole(runs, capsys):
    run = make(runs, "a")
    with Heartbeat(run, SHARE, on_stop=lambda: None):
        assert main(["a", "--runs-dir", str(runs)]) == 0
        out = capsys.readouterr().out
        assert "run a: running (process" in out
        assert "3 of 5 trials have ended" in out
        assert "about 3 s left" in out  # a trial of 2.5 epochs and 1.5 epochs of another, 1.5 s each, two at a time
        assert "6 epochs, 0.00 GPU-hours" in out
        lines = out.splitlines()
        best = next(line for line in lines if line.strip().startswith("1 "))
        assert best.split()[1:5] == ["0", "0.3000", "4/4", "finished"]
        assert "trial 2 failed: ValueError: no [/x]" in out


def test_one_trial_and_epoch_are_told_in_the_singular(runs, capsys):
    run = RunFolder(runs / "a")
    run.path.mkdir(parents=True)
    write_json(run.path / "search.json", {"plan": {"trials": 1, "base": {"epochs": 1}}})
    add_trial(run, 0, FINISHED, [0.2])
    assert main(["a", "--runs-dir", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 trial has ended (1 finished)" in out
    assert "1 epoch, 0.00 core-hours" in out


def test_json_is_for_scripts(runs, capsys):
    make(runs, "a")
    assert main(["a", "--runs-dir", str(runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["trials"], told["best"]) == ("interrupted", 5, 0.3)
    assert told["counts"] == {"finished": 1, "stopped": 1, "failed": 1, "interrupted": 1}
    assert main(["--runs-dir", str(runs), "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["a"]


def test_interrupted_search_names_the_command_that_goes_on(runs, capsys):
    make(runs, "a")
    assert main(["a", "--runs-dir", str(runs)]) == 0
    assert f"go on with: python search/run.py --resume a --runs-dir {runs}" in capsys.readouterr().out


def test_one_damaged_trial_does_not_hide_the_others(runs, capsys):
    run = make(runs, "a")
    whole = run.trial(0).curve_file.read_text()
    run.trial(0).curve_file.write_text(whole[: len(whole) - 9])
    assert main(["a", "--runs-dir", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "run a: interrupted" in out and "2 of 5 trials have ended" in out
    assert "damaged, trial.json or curve.csv: trial 0; --resume a mends what is cut off" in out


def test_run_that_has_lost_its_search_json_is_shown_with_what_it_needs(runs, capsys):
    (make(runs, "a").path / "search.json").unlink()
    assert main(["a", "--runs-dir", str(runs)]) == 2
    assert "a has trials and no search.json, which says what was searched: bring it back" in capsys.readouterr().err
    assert main(["--runs-dir", str(runs), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["state"]) == ("a", "damaged") and "has trials and no search.json" in told["told"]


def test_all_runs_are_a_line_each(runs, capsys):
    for name in ("a", "b"):
        make(runs, name, trials=3)
    (runs / "c").mkdir()
    (runs / "c" / "search.json").write_text("{")
    assert main(["--runs-dir", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["run", "a", "b", "c"]
    assert lines[1].split()[1:4] == ["finished", "3/3", "0.3000"]
    assert "damaged" in lines[3]


def test_stop_asks_and_waits_until_the_search_has_ended(runs, capsys):
    run, asked = make(runs, "a"), threading.Event()
    beat = Heartbeat(run, SHARE, on_stop=asked.set)

    def drive():
        with beat:
            entered.set()
            asked.wait(20)

    entered = threading.Event()
    thread = threading.Thread(target=drive)
    thread.start()
    assert entered.wait(10)
    started = time.monotonic()
    assert main(["a", "--runs-dir", str(runs), "--stop"]) == 0
    thread.join(10)
    assert asked.is_set()
    assert time.monotonic() - started < 30
    assert status_of(run).state == "interrupted"
    assert main(["a", "--runs-dir", str(runs), "--stop"]) == 0
    assert "nobody drives run a" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    (["b"], "no run b in"), (["--stop"], "--stop and --watch are for one run; name it"),
    (["a", "--runs-dir", "/none/here"], "there is no folder /none/here"),
])  # fmt: skip
def test_bad_input_is_one_clear_error(runs, capsys, arguments, said):
    make(runs, "a")
    assert main(["--runs-dir", str(runs), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_runs_on_s3_are_shown_from_anywhere(runs, s3, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    make(s3 / "bucket" / "runs", "a")
    assert main(["a", "--runs-dir", "s3://bucket/runs"]) == 0
    assert "3 of 5 trials have ended" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "shown"), [
    (4.4, "4 s"), (600, "10 min"), (11_100, "3 h 05 min"), (200_000, "2 days"),
])  # fmt: skip
def test_spans_are_short(seconds, shown):
    assert show_span(seconds) == shown


def test_a_chain_is_shown_by_the_phase_that_it_is_in(runs, capsys):
    run = make(runs, "a")
    searched = Phase(SEARCH, [], "short", 90.0, 0, {"val_miou": 0.3})
    promoted = Phase(PROMOTE, [], "longer", 120.0)
    chain = Chain("ensemble", {"until": "1h"}, [], [searched, promoted])
    write_chain(run, chain)
    assert main(["a", "--runs-dir", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "run a: running (phase promote on the way to ensemble, 2 min so far)" in out
    assert "val_miou 0.3000" in out and out.count("to come") == 2
    assert main(["--runs-dir", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["chain"]["to"] == "ensemble"

    chain.by = {**chain.by, "process_started": 1}  # another process of that number, by now
    (run.path / "phases.json").write_text(json.dumps(asdict(chain)))
    assert status_of(run).state == "interrupted"
    assert "--resume a" in status_of(run).told
    elsewhere = {**chain.by, "boot": "another machine's"}
    for seen, state in ((time.time() - 5, "running"), (time.time() - 3600, "interrupted")):
        (run.path / "phases.json").write_text(json.dumps(asdict(replace(chain, by={**elsewhere, "seen": seen}))))
        assert status_of(run).state == state

    chain.phases = [Phase(name, [], "", 1.0, 0) for name in chain.wanted]
    write_chain(run, chain)
    assert status_of(run).state == "finished"
    (run.path / "phases.json").write_text("{")
    assert status_of(run).state == "damaged"


def test_a_run_that_is_being_prepared_is_shown_with_its_process(runs, capsys):
    run = RunFolder(runs / "a")
    run.path.mkdir(parents=True)
    with claimed(run):
        assert main(["a", "--runs-dir", str(runs)]) == 0
        told = f"run a: preparing (being prepared, no trial has begun: process {os.getpid()} on"
        assert told in capsys.readouterr().out
        assert main(["--runs-dir", str(runs), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["state"] == "preparing"
    assert main(["a", "--runs-dir", str(runs)]) == 2  # no run has come of it
    assert "no run a in" in capsys.readouterr().err
    assert main(["--runs-dir", str(runs)]) == 0
    assert "no runs in" in capsys.readouterr().out
    write_chain(run, Chain("ensemble", {"until": "1h"}, []))  # its first phase has not claimed it yet
    assert main(["a", "--runs-dir", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "run a: preparing" in out and "What each phase to ensemble" in out


def test_a_run_that_is_being_prepared_can_be_asked_to_stop(runs, capsys):
    run, asked = RunFolder(runs / "a"), threading.Event()
    run.path.mkdir(parents=True)
    with claimed(run) as beat:
        stopper = threading.Thread(target=main, args=(["a", "--runs-dir", str(runs), "--stop"],))
        stopper.start()
        while not run.stop_requested():
            time.sleep(0.05)
        assert status_of(run).told.startswith("asked to stop while it is being prepared")
        beat.drive(SHARE, asked.set, lambda: None)
        assert asked.wait(20)
        beat.close()
        stopper.join(20)
    assert "asked run a to stop; it does once it is prepared" in capsys.readouterr().out


def test_the_command_that_goes_on_names_a_space_of_ones_own(runs, capsys):
    run = make(runs, "a")
    write_json(run.path / "search.json", {"plan": {"space": "/x/my.py:f", "trials": 5, "base": {"epochs": 4}}})
    for more in ([], ["--stop"]):
        assert main(["a", "--runs-dir", str(runs), *more]) == 0
        assert f"--resume a --runs-dir {runs} --space /x/my.py:f" in capsys.readouterr().out


def test_hours_are_those_that_the_machine_was_held(runs, capsys):
    run, now = make(runs, "a"), time.time()
    Usage("core-hours", 1.0, (Held(now - 7200, now - 3600, 2.0),), {"0": 3000.0}).write(run)
    assert (status_of(run).hours, status_of(run).unit) == (pytest.approx(2.0), "core-hours")
    with Heartbeat(run, SHARE):  # another session, of which nothing is written yet
        assert status_of(run).hours == pytest.approx(2.0)
        Usage("core-hours", 1.0, (Held(now - 7200, now - 3600, 2.0), Held(time.time(), now, 2.0))).write(run)
        assert status_of(run).hours >= 2.0


def test_trainings_on_further_folds_are_counted(runs, capsys):
    run = make(runs, "a")
    for fold, state in ((1, FINISHED), (2, FINISHED), (3, RUNNING)):
        folder = run.trial(0).further(fold)
        folder.path.mkdir(parents=True)
        folder.write_status(state)
    assert main(["a", "--runs-dir", str(runs)]) == 0
    assert "trainings of finalists on further folds: 2 finished, 1 running" in capsys.readouterr().out


def test_what_a_chain_trains_now_is_shown_below_it(runs, capsys):
    run, long = make(runs, "a"), make(runs, "a-long")
    write_chain(run, Chain("ensemble", {"until": "1h"}, [], [Phase(SEARCH, [], "", 1.0, 0)]))
    assert main(["a", "--runs-dir", str(runs)]) == 0
    assert "run a-long" not in capsys.readouterr().out  # no search works on it
    with Heartbeat(long, SHARE):
        assert main(["a", "--runs-dir", str(runs)]) == 0
        assert "3 of 5 trials have ended" in capsys.readouterr().out.partition("run a-long: running (process")[2]
        assert main(["a", "--runs-dir", str(runs), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["phase"]["name"] == "a-long"


def test_what_a_chain_trains_now_is_asked_to_stop(runs, capsys):
    run, long = make(runs, "a"), make(runs, "a-long")
    write_chain(run, Chain("ensemble", {"until": "1h"}, [], [Phase(SEARCH, [], "", 1.0, 0)]))
    assert main(["a", "--runs-dir", str(runs), "--stop"]) == 1
    assert "phase promote trains nothing now" in capsys.readouterr().out
    asked = threading.Event()
    with Heartbeat(long, SHARE, on_stop=asked.set) as beat:
        stopper = threading.Thread(target=main, args=(["a", "--runs-dir", str(runs), "--stop"],))
        stopper.start()
        assert asked.wait(20)
        beat.close()
        stopper.join(20)
    assert "asked run a-long to stop" in capsys.readouterr().out
