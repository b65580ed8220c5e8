"""A run folder of before the packages were divided into rooms is read, and gone on with.

It is a search of three trials that was ended after two, without weights and states; photos are made as they were then.
"""

import shutil

import pytest

from analysis.api import open_run
from analysis.verify import main as verify
from search.preparation.stored_plan import stored_plan
from search.run import main as run_search
from search.status import main as status
from search.tuning.journal import choices
from search.tuning.study import open_study
from spaces import losses
from spaces.begun import as_begun
from spaces.table import find_space
from tests.conftest import ROOT, write_photos
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED

KEPT = ROOT / "tests" / "data" / "run_before_rooms"
VALUES = [0.0071, 0.0072]


@pytest.fixture
def earlier(tmp_path):
    """A copy of it, whose photos are in place."""
    write_photos(tmp_path / "data", count=20)
    run = tmp_path / "runs" / "old"
    shutil.copytree(KEPT, run)
    for old, new in (("DATA", tmp_path / "data"), ("CACHE", tmp_path / "cache")):
        record = run / "search.json"
        record.write_text(record.read_text().replace(f'"{old}"', f'"{new}"'))
    return RunFolder(run)


def test_is_read(earlier, capsys):
    frame = open_run(earlier.path).leaderboard()
    assert sorted(frame["trial"]) == [0, 1] and list(frame["epochs"]) == [2, 2]
    assert sorted(frame["val_miou"].round(4)) == sorted(VALUES)
    assert open_run(earlier.path).out_of_fold(0).probabilities().shape[1:] == (11, 32, 32)
    assert status(["old", "--runs-dir", str(earlier.path.parent)]) == 0
    assert "2 of 3" in capsys.readouterr().out
    assert verify(["--run", str(earlier.path)]) == 1  # what was left out to keep it small
    assert "best.safetensors: is missing" in capsys.readouterr().err


def test_choices_of_a_later_version_are_not_for_a_run_that_goes_on(earlier, monkeypatch):
    """A loss more, as a contributor adds it."""
    plan = stored_plan(earlier)
    monkeypatch.setattr(losses, "LOSSES", (*losses.LOSSES, "later"))
    study = open_study(earlier, as_begun(find_space(plan.space, plan.scope), choices(earlier.study)))
    for _ in range(30):
        assert as_begun(find_space(plan.space, plan.scope), choices(earlier.study)).sample(study.ask())
    assert "later" not in {trial.params.get("loss") for trial in study.get_trials()}
    monkeypatch.setattr(losses, "LOSSES", losses.LOSSES[1:])
    with pytest.raises(
        ValueError, match=r"began with loss 'cross_entropy' among its choices.*go on with it by --extend"
    ):
        as_begun(find_space(plan.space, plan.scope), choices(earlier.study)).sample(study.ask())


@pytest.mark.ray
@pytest.mark.slow
def test_is_gone_on_with(earlier, capsys):
    before = [trial.curve_file.read_bytes() for trial in earlier.trials()]
    assert run_search(["--resume", "old", "--runs-dir", str(earlier.path.parent), "--concurrent", "1"]) == 0
    trials = earlier.trials()
    assert [trial.status().state for trial in trials] == [FINISHED] * 3
    assert [trial.curve_file.read_bytes() for trial in trials[:2]] == before  # what had ended was left alone
    assert "all trials have ended" in capsys.readouterr().out
