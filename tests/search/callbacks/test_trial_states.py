import pytest

from search.callbacks.trial_states import MAX_FAILURES, RecordStates, why_lost
from search.worker.messages import Assignment
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, OOM, RUNNING, STOPPED


class Tried:
    """What the callbacks read of Tune's trial."""

    def __init__(self, number=0, error=""):
        self.trial_id, self.last_result, self.error_file = f"t{number}", {}, error
        self.config = Assignment(number, {}, False).sent()


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "a")


@pytest.fixture
def record(run):
    return RecordStates(run, 3)


def epochs(run, record, trial, count):
    run.trial(0).write_curve([{"epoch": epoch, "val_miou": 0.1} for epoch in range(1, count + 1)])
    trial.last_result = {"epoch": count, "files": {"curve.csv": {"bytes": 1, "sha256": "x"}}}
    record.on_trial_result(0, [], trial, trial.last_result)


def test_trial_that_loses_its_process_again_and_again_ends_alone_with_its_reason(run, record):
    trial = Tried()
    for _ in range(MAX_FAILURES):
        record.on_trial_start(0, [], trial)
        record.on_trial_recover(0, [], trial)
        assert run.trial(0).status().state == RUNNING
    record.on_trial_start(0, [], trial)
    record.on_trial_recover(0, [], trial)
    status = run.trial(0).status()
    assert status.state == FAILED
    assert "killed, out of memory, or crashed, or its node is gone, 3 times in a row" in status.reason
    record.on_trial_start(0, [], trial)  # Tune's own retry ends at once, and must not bring the trial back
    record.on_trial_complete(0, [], trial)
    assert run.trial(0).status() == status


def test_progress_between_failures_forgives_them(run, record):
    trial = Tried()
    for epoch in range(1, 6):
        record.on_trial_start(0, [], trial)
        epochs(run, record, trial, epoch)
        record.on_trial_recover(0, [], trial)
    assert run.trial(0).status().state == RUNNING


def test_halt_is_no_failure(run, record):
    trial = Tried()
    for _ in range(10):
        record.on_trial_start(0, [], trial)
        record.on_trial_result(0, [], trial, {"halted": "its process got SIGTERM"})
        record.on_trial_recover(0, [], trial)
    assert run.trial(0).status().state == RUNNING


@pytest.mark.parametrize(("count", "state"), [(3, FINISHED), (2, STOPPED)])
def test_end_has_checksums_and_drops_states_of_the_past(run, record, count, state):
    trial, folder = Tried(), run.trial(0)
    record.on_trial_start(0, [], trial)
    folder.previous_state.write_bytes(b"")
    folder.part_state.write_bytes(b"")
    epochs(run, record, trial, count)
    record.on_trial_complete(0, [], trial)
    assert folder.status().state == state
    assert folder.status().files == {"curve.csv": {"bytes": 1, "sha256": "x"}}
    assert not folder.previous_state.exists()
    assert not folder.part_state.exists()


def test_worker_that_ends_broken_says_why(run, record):
    trial = Tried()
    record.on_trial_start(0, [], trial)
    trial.last_result = {"broken": OOM, "reason": "does not fit", "traceback": "Traceback"}
    record.on_trial_complete(0, [], trial)
    record = run.trial(0).status()
    assert (record.state, record.reason, record.traceback) == (OOM, "does not fit", "Traceback")


@pytest.mark.parametrize(("text", "state", "said"), [
    ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.", OOM, "memory monitor"),
    ("ActorDiedError: The actor died unexpectedly", FAILED, "without a word"), ("", FAILED, "without a word"),
    ("Traceback\n  File\nOSError: [Errno 5] Input/output error\n", FAILED, "OSError: [Errno 5]"),
])  # fmt: skip
def test_reason_of_a_lost_trial(tmp_path, text, state, said):
    (tmp_path / "error.txt").write_text(text)
    found, reason = why_lost(Tried(error=str(tmp_path / "error.txt")))
    assert found == state
    assert said in reason
    assert why_lost(Tried(error=str(tmp_path / "gone")))[0] == FAILED


def test_record_that_is_no_json_is_replaced(run, record):
    run.trial(0).path.mkdir(parents=True)
    (run.trial(0).path / "trial.json").write_text("{")
    record.on_trial_start(0, [], Tried())
    assert run.trial(0).status().state == RUNNING
