"""What a crash leaves behind, and what a resume makes of it."""

import pytest
from optuna.trial import TrialState

from search.tuning.asha import ResumableASHA
from search.tuning.recovery import mend
from search.tuning.study import mend_records, open_study
from tests.search.tuning.test_study import SPACE, make_search, run, states, train  # noqa: F401
from trainable.engine.checkpoint import save_tensors
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, RUNNING, STOPPED

ROWS = [{"epoch": 1, "val_miou": 0.1}, {"epoch": 2, "val_miou": 0.2}]


def test_journal_lost_entirely_comes_back_from_the_folders(run):  # noqa: F811
    search = make_search(run)
    for number, values, state in ((0, [0.3 + epoch / 100 for epoch in range(9)], FINISHED), (1, [0.1, 0.2], STOPPED)):
        _, row = train(run, search, str(number), values)
        search.on_trial_complete(str(number), row)
        run.trial(number).write_status(state)
    train(run, search, "c", [0.15], ends=False)
    before = search.study.get_trials()
    run.study.unlink()
    again = make_search(run)
    after = again.study.get_trials()
    assert [trial.params for trial in after[:3]] == [trial.params for trial in before[:3]]
    assert [trial.state for trial in after[:3]] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
    assert [trial.intermediate_values for trial in after[:2]] == [trial.intermediate_values for trial in before[:2]]
    assert after[0].value == before[0].value
    config = again.suggest("x")
    assert (config["number"], config["resume"]) == (2, True)
    assert again.suggest("y")["number"] == 3


def test_trial_whose_end_only_optuna_heard_is_ended_in_its_folder(run):  # noqa: F811
    search = make_search(run)
    _, row = train(run, search, "a", [0.1, 0.2])
    search.on_trial_complete("a", row)
    assert run.trial(0).status().state == RUNNING
    open_study(run, SPACE)
    assert run.trial(0).status().state == STOPPED
    assert "just before the search did" in run.trial(0).status().reason


@pytest.mark.parametrize(("state", "told"), [
    (FINISHED, TrialState.COMPLETE), (STOPPED, TrialState.PRUNED), (FAILED, TrialState.FAIL),
])  # fmt: skip
def test_trial_whose_end_only_its_folder_has_is_told(run, state, told):  # noqa: F811
    search = make_search(run)
    train(run, search, "a", [0.1, 0.2])
    run.trial(0).write_status(state)
    assert open_study(run, SPACE).get_trials()[0].state == told
    assert make_search(run).suggest("x")["number"] == 1


@pytest.mark.parametrize(("state", "told"), [(STOPPED, TrialState.PRUNED), (FINISHED, TrialState.COMPLETE)])
def test_trial_that_a_cut_journal_still_has_waiting_is_not_run_again(run, state, told):  # noqa: F811
    search = make_search(run)
    lines = run.study.read_bytes().splitlines(keepends=True)
    train(run, search, "a", [0.1, 0.4, 0.2])
    run.trial(0).write_status(state)
    run.study.write_bytes(b"".join(lines))  # as it was before the trial was handed out
    again = make_search(run)
    trial = again.study.get_trials()[0]
    assert (trial.state, trial.intermediate_values) == (told, {1: 0.1, 2: 0.4, 3: 0.2})
    assert trial.params == run.trial(0).params()
    assert again.suggest("x")["number"] == 1


def test_running_trial_has_the_epochs_back_that_the_journal_lost(run):  # noqa: F811
    search = make_search(run)
    search.suggest("a")
    lines = run.study.read_bytes()
    folder = run.trial(0)
    folder.write_status(RUNNING)
    folder.write_curve([{"epoch": epoch, "val_miou": value} for epoch, value in ((1, 0.1), (2, 0.4), (3, 0.2))])
    run.study.write_bytes(lines)
    again = make_search(run)
    assert again.study.get_trials()[0].intermediate_values == {1: 0.1, 2: 0.4}  # the last is reported once more
    _, row = train(run, again, "x", [0.3] * 6)
    again.on_trial_complete("x", row)
    assert again.study.get_trials()[0].value == 0.4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b'{"params": {}}', b"\xff\xfe"])
def test_cut_off_record_is_written_anew_with_its_params(run, content):  # noqa: F811
    search = make_search(run)
    train(run, search, "a", [0.1], ends=False)
    params = run.trial(0).params()
    (run.trial(0).path / "trial.json").write_bytes(content)
    again = make_search(run)
    assert run.trial(0).params() == params
    config = again.suggest("x")
    assert (config["number"], config["resume"], states(again)[0]) == (0, True, TrialState.RUNNING)


@pytest.mark.parametrize("damage", ["epoch,val", "", "epoch,val_miou\n1,x\n", "epoch,val_miou\n1,0.1\n2,"])
def test_cut_off_curve_is_taken_from_the_state(tmp_path, damage):
    folder = TrialFolder(tmp_path / "0000")
    folder.write_params({"lr": 0.1})
    save_tensors(folder.last_state, {}, rows=ROWS)
    folder.curve_file.write_text(damage)
    mend(folder, {})
    assert folder.curve() == ROWS


def test_records_are_mended_before_anything_reads_them(run):  # noqa: F811
    search = make_search(run)
    for name in ("a", "b"):
        train(run, search, name, [0.1, 0.2], ends=False)
    params = [run.trial(number).params() for number in (0, 1)]
    for number in (0, 1):
        save_tensors(run.trial(number).last_state, {}, rows=ROWS)
    further = run.trial(1).further(2)
    further.path.mkdir(parents=True)
    further.write_params({})
    save_tensors(further.last_state, {}, rows=ROWS)
    for folder in (run.trial(0), further):
        folder.curve_file.write_text("epoch,val_miou\n1,0.1\n2,")
    (run.trial(1).path / "trial.json").write_bytes(b"{")
    mend_records(run)
    assert [run.trial(number).params() for number in (0, 1)] == params
    assert [folder.curve() for folder in (run.trial(0), further)] == [ROWS, ROWS]


def test_curve_without_any_state_begins_again(tmp_path):
    folder = TrialFolder(tmp_path / "0000")
    folder.write_params({"lr": 0.1})
    folder.curve_file.write_text("epoch,val_miou\n1,")
    mend(folder, {})
    assert folder.curve() == []


def test_state_before_is_taken_where_the_newest_is_cut_off(tmp_path):
    folder = TrialFolder(tmp_path / "0000")
    folder.write_params({"lr": 0.1})
    save_tensors(folder.last_state, {}, rows=ROWS[:1])
    folder.keep_previous_state()
    save_tensors(folder.last_state, {}, rows=ROWS)
    folder.last_state.write_bytes(folder.last_state.read_bytes()[:20])
    folder.curve_file.unlink(missing_ok=True)
    mend(folder, {})
    assert folder.curve() == ROWS[:1]


def test_rungs_after_a_crash_are_those_before(run):  # noqa: F811
    """Stock ASHA forgets them: the first to arrive after a restart would all pass."""
    search = make_search(run)
    for name, values in (("a", [0.1, 0.2, 0.3]), ("b", [0.5] * 9), ("c", [0.2])):
        train(run, search, name, values, ends=False)
    rungs = ResumableASHA(run, search.study, 9, 1, 3)._brackets[0]._rungs
    found = {milestone: sorted(recorded.values()) for milestone, recorded in rungs}
    assert found == {1: [0.1, 0.2, 0.5], 3: [0.3, 0.5], 9: []}  # at the full budget nothing is compared
