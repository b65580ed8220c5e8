from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler

from search.tuning.asha import ResumableASHA
from search.tuning.study import StudySearch, open_study
from search.worker.messages import Assignment
from spaces.parts import Scope
from spaces.table import find_space
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, RUNNING, STOPPED

SPACE = find_space("losses", Scope())
BASE = TrialConfig(epochs=9)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run-a")


def make_search(run, trials=12):
    run.path.mkdir(exist_ok=True)
    return StudySearch(run, open_study(run, SPACE), SPACE, BASE, trials)


def train(run, search, name, values, ends=True):
    """Play a worker: write and report epochs of the suggested trial."""
    config = search.suggest(name)
    folder = run.trial(config["number"])
    folder.write_status(RUNNING)
    rows = folder.curve()
    for value in values:
        rows.append({"epoch": len(rows) + 1, "val_miou": value})
        folder.write_curve(rows)
        if value is not values[-1] or not ends:  # Tune gives the last result of a trial it stops to the end only
            search.on_trial_result(name, rows[-1])
    return config, rows[-1] if rows else None


def states(search):
    return [trial.state for trial in search.study.get_trials()]


def test_first_trials_are_those_of_the_space_and_configs_carry_the_base(run):
    search = make_search(run)
    first, second = search.suggest("a"), search.suggest("b")
    assert first["config"]["loss"] == {"name": "cross_entropy", "label_smoothing": 0.0}
    assert second["config"]["loss"] == {"name": "focal", "gamma": 2.0}
    assert first["config"]["epochs"] == 9
    assert (first["number"], second["number"], first["resume"]) == (0, 1, False)
    assert run.trial(1).params() == {"loss": "focal", "focal_gamma": 2.0, "lr": 1e-4}


def test_optuna_is_told_complete_pruned_and_failed(run):
    search = make_search(run)
    for name, values in (("full", [0.1] * 8 + [0.05]), ("stopped", [0.1, 0.2]), ("failed", [0.1])):
        _, row = train(run, search, name, values)
        search.on_trial_complete(name, row, error=name == "failed")
    search.suggest("silent")
    search.on_trial_complete("silent", None)
    assert states(search) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    assert search.study.trials[0].value == 0.1  # the best epoch's, whose weights are kept
    assert search.study.trials[1].intermediate_values == {1: 0.1, 2: 0.2}


def test_unfinished_trials_come_back_first_with_their_config_and_no_duplicates(run):
    search = make_search(run)
    _, row = train(run, search, "a", [0.3] * 9)
    search.on_trial_complete("a", row)
    cut, _ = train(run, search, "b", [0.1, 0.2], ends=False)  # and then the process is gone
    again = make_search(run)
    resumed, row = train(run, again, "x", [0.3])
    assert resumed == {**cut, "resume": True}
    again.on_trial_result("x", row)  # reported twice
    assert again.study.trials[1].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    again.on_trial_complete("x", row)
    assert again.suggest("y")["number"] == 2
    assert again.study.trials[2].params["loss"] == "cross_entropy"  # the third first trial, still waiting
    assert [state for state in states(again) if state == TrialState.RUNNING] == [TrialState.RUNNING]


def test_sampling_does_not_depend_on_interruptions(tmp_path):
    def configs(root, restarts):
        root.mkdir()
        run, found = RunFolder(root / "run"), []
        search = make_search(run)
        for index in range(8):
            if index in restarts:
                search = make_search(run)
            config, row = train(run, search, str(index), [0.1 + 0.01 * index])
            search.on_trial_complete(str(index), row)
            found.append(config["config"])
        return found

    assert configs(tmp_path / "straight", ()) == configs(tmp_path / "restarted", (2, 5, 6))


def test_journal_opens_as_a_plain_optuna_study(run):
    search = make_search(run)
    train(run, search, "a", [0.1], ends=False)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(run.study)))
    assert optuna.load_study(study_name="run-a", storage=storage).trials[0].intermediate_values == {1: 0.1}


def asha(run, study=None):
    return ResumableASHA(run, study or optuna.create_study(), epochs=9, grace=1, reduction=3)


def rungs(scheduler):
    return {int(milestone): sorted(values.values()) for milestone, values in scheduler._brackets[0]._rungs}


def play(run, scheduler, number, values, resume=False):
    """Report epochs to ASHA until it stops the trial; returns the decision and writes the curve."""
    trial = SimpleNamespace(trial_id=f"t{number}{resume}", config=Assignment(number, {}, resume).sent())
    scheduler.on_trial_add(None, trial)
    folder = run.trial(number)
    folder.path.mkdir(parents=True, exist_ok=True)
    rows = folder.curve()
    decision = TrialScheduler.CONTINUE
    if resume:
        decision = scheduler.on_trial_result(None, trial, rows[-1])
    for value in values:
        if decision == TrialScheduler.STOP:
            break
        rows.append({"epoch": len(rows) + 1, "val_miou": value})
        folder.write_curve(rows)
        decision = scheduler.on_trial_result(None, trial, rows[-1])
    folder.write_status(STOPPED if decision == TrialScheduler.STOP else RUNNING)
    return decision


CURVES = [[0.1 * (1 + (number * 7) % 5) + 0.02 * epoch for epoch in range(9)] for number in range(8)]


@pytest.mark.parametrize("cut_at", [1, 2, 3, 5])
def test_rungs_and_decisions_after_a_restart_are_those_of_a_run_without(tmp_path, cut_at):
    straight, cut = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    scheduler = asha(straight)
    expected = [play(straight, scheduler, number, curve) for number, curve in enumerate(CURVES)]
    first = asha(cut)
    found = [play(cut, first, number, curve) for number, curve in enumerate(CURVES[:4])]
    # The fifth trial reports some epochs; the search dies before the last report is judged.
    played = CURVES[4][:cut_at]
    play(cut, asha(RunFolder(tmp_path / "nothing")), 99, [])
    folder = cut.trial(4)
    folder.path.mkdir(parents=True)
    folder.write_curve([{"epoch": epoch + 1, "val_miou": value} for epoch, value in enumerate(played)])
    folder.write_status(RUNNING)
    second = asha(cut)
    found.append(play(cut, second, 4, CURVES[4][cut_at:], resume=True))
    found += [play(cut, second, number, curve) for number, curve in enumerate(CURVES) if number > 4]
    assert found == expected
    assert rungs(second) == rungs(scheduler)


@pytest.mark.parametrize("heard", [True, False])
def test_epoch_that_asha_let_pass_is_not_judged_again_after_a_restart(run, heard):
    first = asha(run)
    play(run, first, 0, [0.1])  # passes as the first to arrive
    for number in (1, 2, 3):
        play(run, first, number, [0.5])
    study = optuna.create_study()
    trial = study.ask()
    if heard:
        trial.report(0.1, 1)
    decision = play(run, asha(run, study), 0, [], resume=True)
    assert decision == (TrialScheduler.CONTINUE if heard else TrialScheduler.STOP)


def test_finished_and_failed_trials_keep_their_place_on_the_rungs(run):
    for number, state in enumerate((FINISHED, STOPPED, FAILED)):
        folder = run.trial(number)
        folder.path.mkdir(parents=True)
        folder.write_curve([{"epoch": 1, "val_miou": 0.1 * (number + 1)}])
        folder.write_status(state)
    assert rungs(asha(run))[1] == pytest.approx([0.1, 0.2, 0.3])


def test_no_trial_is_handed_out_while_packing_measures_another(run):
    run.path.mkdir()
    packing = SimpleNamespace(holds=lambda live: live == 1, share=lambda config: 0.5)
    search = StudySearch(run, open_study(run, SPACE), SPACE, BASE, 12, packing=packing)
    assert search.suggest("a")["gpus"] == 0.5
    assert search.suggest("b") is None
    assert len(search.study.get_trials()) == len(SPACE.first_trials) and not search.over
    packing.holds = lambda live: False
    assert search.suggest("b")["number"] == 1


def test_base_of_the_config_is_kept(run):
    run.path.mkdir()
    search = StudySearch(run, open_study(run, SPACE), SPACE, replace(BASE, batch_size=3), 12)
    assert search.suggest("a")["config"]["batch_size"] == 3
