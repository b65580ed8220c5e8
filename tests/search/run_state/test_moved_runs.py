"""Runs whose folders were renamed, copied, or have lost a part: the same study goes on."""

import shutil

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from analysis.results.importances import open_study as read_study
from analysis.verify import verify
from search.run_state.run_status import status_of
from search.tuning.recovery import MISSING
from search.tuning.study import open_study
from spaces.parts import Scope
from spaces.table import find_space
from tests.search.run_state.test_leaderboard import add_trial
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED
from trainable.storage.atomic_write import write_json

SPACE = find_space("losses", Scope())


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "N")
    run.path.mkdir()
    write_json(run.path / "search.json", {"plan": {"trials": 2, "base": {"epochs": 4}}})
    study = open_study(run, SPACE)
    for number, value in enumerate((0.3, 0.2)):
        trial = study.ask()
        SPACE.sample(trial)
        add_trial(run, number, FINISHED, [value] * 4)
        run.trial(number).write_params(trial.params)
        trial.report(value, 4)
        study.tell(trial, value)
    return run


def names(run):
    return optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(run.study))))


def renamed(run):
    return RunFolder(run.path.rename(run.path.with_name("M")))


def linked(run):
    (run.path.parent / "elsewhere").mkdir()
    moved = run.path.rename(run.path.parent / "elsewhere" / "kept")
    run.path.with_name("M").symlink_to(moved)
    return RunFolder(run.path.with_name("M"))


def copied(run):
    return RunFolder(shutil.copytree(run.path, run.path.with_name("M")))


@pytest.mark.parametrize("move", [renamed, linked, copied])
def test_folder_of_another_name_has_the_same_study(run, move):
    moved = move(run)
    study = open_study(moved, SPACE)
    assert [trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))] == [0.3, 0.2]
    assert names(moved) == ["N"]
    assert len(read_study(moved).get_trials(states=(TrialState.COMPLETE,))) == 2


def test_journal_with_the_second_study_of_an_earlier_version_is_read_as_that(run):
    storage = JournalStorage(JournalFileBackend(str(run.study)))
    second = optuna.create_study(storage=storage, study_name="M", direction="maximize")
    second.add_trial(optuna.trial.create_trial(value=0.4))
    assert run.study_name() == "M"
    assert [trial.value for trial in read_study(run).get_trials()] == [0.4]
    assert open_study(run).study_name == "M"


def test_run_without_its_journal_gets_it_back_from_the_folders(run):
    run.study.unlink()
    study = open_study(renamed(run), SPACE)
    assert [trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))] == [0.3, 0.2]


def test_trial_whose_folder_is_lost_is_told_and_does_not_keep_the_run_from_its_end(run):
    shutil.rmtree(run.trial(1).path)
    study = open_study(run, SPACE)
    assert study.get_trials()[1].state == TrialState.COMPLETE
    assert [folder.status().state for folder in run.trials()] == [FINISHED, FAILED]
    assert run.trial(1).status().reason == MISSING
    assert run.trial(1).params() == study.get_trials()[1].params


@pytest.mark.parametrize("name", ["0001-copy", "0001 (1)", "old", "1", "00001", "٠٠٠٧"])
def test_folder_that_is_no_trials_by_its_name_is_ignored_and_told(run, name):
    shutil.copytree(run.trial(1).path, run.path / "trials" / name)
    (run.trial(0).path / "folds" / "1-copy").mkdir(parents=True)
    (run.trial(0).path / "folds" / "1-copy" / "trial.json").write_text("{")
    assert [folder.number for folder in run.trials()] == [0, 1]
    assert run.trial(0).further_folds() == []
    assert [path.name for path in run.ignored()] == ["1-copy", name]
    assert status_of(run).state == "finished"
    damaged = [problem.split(": ")[0].split("/") for problem in verify(run)[1]]
    assert not [parts for parts in damaged if "1-copy" in parts or name in parts]
    open_study(run, SPACE)
