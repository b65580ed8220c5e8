"""Records with a type: what is written is read back, older ones are read, later ones are left alone."""

import json

import pytest

from search.run_state.driver_claim import heartbeat
from search.run_state.past_usage import Held, Usage, read_usage
from search.tuning.recovery import mend
from tests.conftest import ROOT
from trainable.run_folder.ensemble_record import EnsembleRecord, MemberRecord, Model, Stage, Tried, read_ensemble
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.trial_record import FINISHED, OOM, RUNNING, TrialRecord
from trainable.storage.record_checks import DamagedError, NewerFormatError

FILES = {"curve.csv": {"bytes": 3, "sha256": "x"}}

STORED = EnsembleRecord(
    runs=("a",),
    data_hash="d",
    folds_hash="f",
    members=(MemberRecord("a", 3, (0.5, 0.25), (Model(0, "trials/0003", "9 bytes"),)),),
    views=("plain",),
    filters=({"name": "small pieces", "pixels": 9},),
    trainings={"a": 4},
    stages=(Stage("ensemble", 0.2, 0.1, 0.3),),
    gates=(Tried("small pieces", True, (0.1, 0.0, 0.2), "it gains", {"pixels": 9}, (0.3, 0.2, 0.4)),),
)


@pytest.mark.parametrize(
    "record",
    [
        TrialRecord(RUNNING),
        TrialRecord(OOM, "too large", epochs=0),  # none is a number too
        TrialRecord(FINISHED, "all", 1.5, 2.5, 4, files=FILES, params={"lr": 0.1, "loss": "dice"}),
        TrialRecord("interrupted", "no weights", epochs=1, waits=True),
        TrialRecord("failed", "ValueError: no", traceback="..."),
    ],
)
def test_trial_record_is_read_as_it_was_written(tmp_path, record):
    folder = TrialFolder(tmp_path)
    folder.write(record)
    assert folder.status() == record


def test_trial_record_without_a_format_is_read_and_what_nobody_knows_is_left_out(tmp_path):
    (tmp_path / "trial.json").write_text('{"state": "finished", "reason": "all", "weather": "fine"}')
    assert TrialFolder(tmp_path).status() == TrialRecord(FINISHED, "all")


@pytest.mark.parametrize("stated", ["x", 0, -1, True, 1.5, None])
def test_format_that_is_no_number_is_damage(tmp_path, stated):
    (tmp_path / "trial.json").write_text(json.dumps({"format": stated, "state": "finished"}))
    with pytest.raises(DamagedError, match=r"its format is .*, which must be a whole number from 1 on"):
        TrialFolder(tmp_path).status()


def test_nothing_writes_over_a_record_of_a_later_version(tmp_path):
    path, folder = tmp_path / "trial.json", TrialFolder(tmp_path)
    path.write_text('{"format": 99, "state": "evaporated"}')
    before = path.read_bytes()
    for change in (
        folder.status,
        lambda: folder.write_params({"lr": 1.0}),
        lambda: folder.write_status(FINISHED),
        lambda: folder.forget("curve.csv"),
        lambda: mend(folder, {}),
    ):
        with pytest.raises(
            NewerFormatError, match=r"trial.json has format 99, and this version reads up to 1: read it"
        ):
            change()
    assert path.read_bytes() == before


def test_ensemble_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "ensemble.json"
    STORED.write(path)
    assert read_ensemble(path) == STORED
    content = json.loads(path.read_text())
    for later in ("format", "gates", "expected", "notes", "scores"):  # an earlier version did not write these
        del content[later]
    path.write_text(json.dumps({**content, "weather": "fine"}))
    assert read_ensemble(path).members == STORED.members and read_ensemble(path).gates == ()
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(NewerFormatError, match="has format 2"):
        read_ensemble(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"members": 3}', '{"members": [{"run": "a"}]}'])
def test_damaged_ensemble_is_told(tmp_path, content):
    (tmp_path / "ensemble.json").write_text(content)
    with pytest.raises(DamagedError, match=r"ensemble.json is damaged"):
        read_ensemble(tmp_path / "ensemble.json")


def test_usage_of_an_earlier_version_is_read_and_written_on(tmp_path):
    usage = read_usage(RunFolder(ROOT / "tests/data/run_before_rooms"))
    assert usage.unit == "core-hours" and len(usage.sessions) == 1 and set(usage.held) == {"0", "1"}
    more = Usage(usage.unit, 1.0, (*usage.sessions, Held(0.0, 3600.0, 2.0)), usage.held)
    more.write(RunFolder(tmp_path))
    assert read_usage(RunFolder(tmp_path)) == more
    assert more.total() == pytest.approx(usage.total() + 2.0)


def test_driver_of_a_later_version_is_known_as_far_as_it_is_understood(tmp_path):
    (tmp_path / "driver.json").write_text('{"format": 9, "host": "a", "pid": 7, "seen": 3.5, "mood": "calm"}')
    record = heartbeat(RunFolder(tmp_path))
    assert (record.host, record.pid, record.seen, record.known) == ("a", 7, 3.5, True)
    assert not heartbeat(RunFolder(tmp_path / "none")).known
