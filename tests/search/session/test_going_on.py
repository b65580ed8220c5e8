"""What does not fit a run that a command goes on with is said before Ray or PyTorch is imported."""

from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import save_file

from search.preparation.encoder_weights_folder import fingerprints
from search.preparation.stored_plan import keep_places, stored_plan
from search.run import main
from search.run_state.heartbeat import Heartbeat
from search.run_state.run_location import run_folder
from search.session.command_checks import validate
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from tests.conftest import write_photos
from tests.search.refusing import home_folder, refusals, snapshot  # noqa: F401 (a fixture)
from tests.search.run_state.test_leaderboard import add_trial
from trainable.classes import CLASSES
from trainable.dataset.folds import Folds
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import write_json

CPU = Machine(cores=2, gpus=0)

FOLDS = Folds(2, 0, {"a.jpg": 0, "b.jpg": 1}, ((1,) * len(CLASSES),) * 2, 0)


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "W").mkdir()
    save_file({"a": np.arange(9.0)}, tmp_path / "W" / "resnet18.safetensors")
    return tmp_path / "W"


@pytest.fixture
def begun(home, weights):
    """A run that takes its encoder's weights from a folder."""
    plan = new_plan(Settings(encoder="resnet18", encoder_weights=str(weights)), CPU)
    run = RunFolder(home / "runs" / "N")
    run.path.mkdir(parents=True)
    write_json(run.path / "search.json", {"plan": asdict(plan), "weights": fingerprints(plan)})
    return run


@pytest.mark.parametrize("option", ["--resume", "--extend", "--confirm"])
def test_weights_that_were_moved_are_asked_for_and_taken_from_their_new_place(begun, weights, capsys, option):
    before = snapshot(begun)
    weights.rename(weights.with_name("W2"))
    assert main([option, "N"]) == 2
    told = capsys.readouterr().err
    assert f"run N needs the encoder weights {weights}/resnet18.safetensors, which are not there: bring them" in told
    assert "--encoder-weights DIR" in told
    options = {option[2:]: "N", "encoder_weights": str(weights.with_name("W2"))}
    plan = stored_plan(begun, Settings(**options))
    validate(Settings(**options), begun, plan)
    assert snapshot(begun) == before
    keep_places(begun, plan)
    validate(Settings(**{option[2:]: "N"}), begun, stored_plan(begun))


def test_other_weights_of_the_same_name_are_refused(begun, weights):
    save_file({"a": np.arange(1.0, 10.0)}, weights / "resnet18.safetensors")
    with pytest.raises(ValueError, match="are other weights than run N began with"):
        validate(Settings(resume="N"), begun, stored_plan(begun))
    (weights / "resnet18.safetensors").write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="which are damaged"):
        validate(Settings(resume="N"), begun, stored_plan(begun))


def test_run_without_a_folder_of_weights_takes_none(home, weights):
    run = RunFolder(home / "runs" / "N")
    run.path.mkdir(parents=True)
    write_json(run.path / "search.json", {"plan": asdict(new_plan(Settings(), CPU))})
    options = {"resume": "N", "encoder_weights": str(weights)}
    with pytest.raises(ValueError, match=r"new place of a run.s own weights, and run N has none: leave it out"):
        validate(Settings(**options), run, stored_plan(run, Settings(**options)))


def test_data_that_was_moved_is_asked_for_before_anything_is_written(home, capsys):
    write_photos(home / "data", count=6)
    plan = new_plan(Settings(data=home / "data"), CPU)
    run = RunFolder(home / "runs" / "my run")
    run.path.mkdir(parents=True)
    write_json(run.path / "search.json", {"plan": asdict(plan)})
    FOLDS.write(run.folds)
    (home / "data").rename(home / "elsewhere")
    before = snapshot(run)
    assert main(["--resume", "my run"]) == 2
    assert f"run my run needs its data, and {home}/data is not there: bring it back, or name" in capsys.readouterr().err
    assert snapshot(run) == before
    keep_places(run, stored_plan(run, Settings(data=home / "elsewhere")))
    assert run.search()["plan"]["data"] == str(home / "elsewhere")


def test_run_without_search_json_says_what_it_needs(home):
    (home / "runs" / "N" / "trials").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"has trials and no search.json, .* bring it back from a copy"):
        run_folder(Settings(resume="N"))
    (home / "runs" / "N" / "search.json").touch()
    with pytest.raises(ValueError, match=r"search.json is damaged .*; bring it back from a copy"):
        run_folder(Settings(resume="N"))


GOING_ON = [
    (["--confirm", "N", "--top", "99"], "--top 99 is more than the 1 different trials"),
    (["--confirm", "N", "--include", "99"], "--include 99: no such trial"),
    (["--confirm", "N", "--folds", "9"], "--folds must be 2 to 5"),
    (["--extend", "N", "--trials", "0"], "--trials 0 adds nothing"),
    (["--resume", "N", "--gpu-hours", "0.01"], "--gpu-hours 0.01 is spent"),
    (["--resume", "driven"], "run driven is being driven by process"),
    (["--resume", "unfolded"], "folds.json, which says which photos validate, is missing"),
]


def test_what_does_not_fit_a_run_is_refused_before_ray_and_pytorch(home):
    plan = new_plan(Settings(trials=1, epochs=2), CPU)
    for name in ("N", "driven", "unfolded"):
        run = RunFolder(home / "runs" / name)
        run.path.mkdir(parents=True)
        write_json(run.path / "search.json", {"plan": asdict(plan)})
        add_trial(run, 0, FINISHED, [0.1, 0.2])
        write_json(run.trial(0).path / "config.json", plan.base)
        write_json(
            run.path / "hours.json",
            {"unit": "core-hours", "per_trial": 1, "held": {}, "sessions": [{"began": 1, "ended": 3601, "size": 1}]},
        )
    for name in ("N", "driven"):
        FOLDS.write(RunFolder(home / "runs" / name).folds)
    before = {path: path.read_bytes() for path in home.rglob("*/N/*.json")}
    with Heartbeat(RunFolder(home / "runs" / "driven")):
        said, imported = refusals(home, [options for options, _ in GOING_ON])
    assert imported == []
    for (options, expected), (status, error) in zip(GOING_ON, said, strict=True):
        assert (status, error.count("\n")) == (2, 1) and expected in error, (options, error)
    assert {path: path.read_bytes() for path in home.rglob("*/N/*.json")} == before
