"""Searches from Python, and spaces of one's own."""

import json
import subprocess
import sys

import pytest

from search.api import SearchEndedError, search
from search.preparation.space_samples import sample_configs
from search.run import main
from search.settings.allocation import Machine
from search.settings.arguments import parse
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.study import StudySearch, open_study
from spaces import own
from spaces.begun import as_begun
from spaces.parts import Scope
from spaces.table import find_space
from tests.conftest import ROOT, write_photos
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json

SPACE = """
def rates(trial):
    return {"optimizer": {"name": "adamw", "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}}

rates.first_trials = ({"lr": 1e-3},)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SPACE)
    return path


class Asked:
    """An Optuna trial that gives the middle of what it is asked for."""

    def suggest_float(self, name, low, high, log=False):
        return (low * high) ** 0.5

    def suggest_categorical(self, name, choices):
        return choices[0]


def test_a_function_of_a_file_is_a_space(file):
    settings = parse(["--space", f"losses+{file}:rates"])
    assert settings.space == f"losses+{file}:rates"
    space = find_space(settings.space, Scope())
    assert {"lr": 1e-3} in [{key: each[key] for key in ("lr",) if key in each} for each in space.first_trials]
    assert set(space.sample(Asked())) == {"loss", "optimizer"}


@pytest.mark.parametrize(
    ("name", "told"),
    [("{file}:nope", r"mine\.py has no function nope; it has rates"), ("{folder}/no.py:x", "there is no file"),
     ("{folder}:x", r"is written FILE\.py:FUNCTION"), ("python:x", "function of a Python session"),
     ("losess", "did you mean 'losses'")],
)  # fmt: skip
def test_what_is_no_space_is_refused_with_what_to_do(file, name, told):
    with pytest.raises(ValueError, match=told):
        parse(["--space", name.format(file=file, folder=file.parent)])


def test_a_file_that_cannot_be_imported_says_why(tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module")
    with pytest.raises(ValueError, match=r"bad\.py cannot be imported \(ModuleNotFoundError: .*no_such_module"):
        parse(["--space", f"{tmp_path / 'bad.py'}:x"])


def test_a_function_has_the_name_of_its_file_and_one_without_says_so(file):
    assert own.register(own.find(own.load(f"{file}:rates"))) == f"{file}:rates"
    assert own.register(lambda trial: {}) == "python:<lambda>"


def test_a_keyword_that_is_no_setting_is_told_the_nearest_one():
    with pytest.raises(TypeError, match=r"search\(\) has no setting 'trial'; did you mean 'trials'"):
        search(trial=12)


FAULTY = """
def boom(trial):
    trial.suggest_float("x", 0, 1)
    return 1 / 0

def later(trial):
    return {"loss": {"name": ["dice", "jaccard"][trial.number]}}

def range_(trial):
    return {"batch_size": trial.suggest_int("size", 9, 1)}

def number(trial):
    return 5

def none():
    return {}

def tries(trial):
    return {}

tries.first_trials = 3

def forgot(trial):
    return {"batch_size": 0}
"""


@pytest.mark.parametrize(
    ("function", "told"),
    [("boom", r"faulty\.py:boom raised ZeroDivisionError: division by zero \(faulty\.py, line 4\): mend the function"),
     ("later", r"raised IndexError: list index out of range \(faulty\.py, line 7\)"),
     ("range_", r"raised ValueError: .*faulty\.py, line 10"), ("number", r"number returned 5: it must return a dict"),
     ("none", r"raised TypeError: .*it takes one value, the trial"), ("tries", "first_trials must be a list of dicts"),
     ("forgot", "gives a config that cannot train: batch_size")],
)  # fmt: skip
def test_an_error_of_a_function_is_told_as_the_functions(tmp_path, function, told):
    (tmp_path / "faulty.py").write_text(FAULTY)
    settings = parse(["--space", f"{tmp_path / 'faulty.py'}:{function}"])
    with pytest.raises(ValueError, match=told):
        sample_configs(new_plan(settings, Machine(cores=2, gpus=0)), 3)


def test_an_error_of_a_function_in_the_midst_of_a_search_is_told_as_the_functions(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for function, told in (("later", r"faulty\.py, line 7"), ("forgot", "gives a config that cannot train")):
        plan = new_plan(parse(["--space", f"{tmp_path / 'faulty.py'}:{function}"]), Machine(cores=2, gpus=0))
        space = as_begun(find_space(plan.space, plan.scope), {"loss": ["dice"]})
        write_json(run.path / "search.json", {"plan": plan.__dict__})
        search = StudySearch(run, open_study(run, space), space, plan.config, 3)
        with pytest.raises(own.OwnSpaceError, match=told):
            for number in range(3):
                search.suggest(f"t{number}")


def test_an_error_of_what_a_function_calls_here_is_not_the_functions():
    def sample(trial):
        return {"loss": trial.suggest_categorical("loss", ["dice"])}

    space = as_begun(find_space(own.register(sample), Scope()), {"loss": ["gone"]})
    with pytest.raises(ValueError, match="which this version lacks") as error:
        space.sample(Asked())
    assert not isinstance(error.value, own.OwnSpaceError)


def test_settings_are_checked_as_those_of_the_command(tmp_path):
    with pytest.raises(ValueError, match="--trials must be at least 1, found 0"):
        search(trials=0)
    with pytest.raises(ValueError, match="--gpu-hours and --until both limit"):
        search(Settings(gpu_hours=1.0), until="1h")
    with pytest.raises(TypeError, match="no_such"):
        search(no_such=1)
    with pytest.raises(ValueError, match="put the function of the space into a file"):
        search(space=lambda trial: {}, to="ensemble", until="1h")
    with pytest.raises(ValueError, match="does not exist"):
        search(data=str(tmp_path / "nothing"), runs_dir=str(tmp_path))


@pytest.mark.slow
def test_search_from_python_returns_the_run_and_goes_on_with_it(tmp_path, file, capsys):
    write_photos(tmp_path / "data", count=20)
    given = {"data": str(tmp_path / "data"), "runs_dir": str(tmp_path / "runs"), "cache_dir": str(tmp_path / "cache")}
    small = {"encoder": "tu-test_resnet", "image_size": 32, "batch_size": 5, "epochs": 1, "concurrent": 1}

    def losses(trial):
        return {"loss": {"name": trial.suggest_categorical("loss", ["dice", "jaccard"])}}

    run = search(space=losses, name="mine", trials=2, **given, **small)
    record = json.loads((run.path / "search.json").read_text())
    assert record["plan"]["space"].endswith(":losses") and len(run.trials()) == 2
    assert {trial.config()["loss"]["name"] for trial in run.trials()} <= {"dice", "jaccard"}
    name = f"{file}:rates"
    run = search(space=name, name="filed", trials=1, **given, **small)
    assert run.trial(0).config()["optimizer"]["lr"] == 1e-3
    words = ["--runs-dir", given["runs_dir"], "--cache-dir", given["cache_dir"]]
    # A run folder alone makes no code run.
    code = "import sys; from search.run import main; sys.exit(main(sys.argv[1:]))"
    asked = [sys.executable, "-c", code, "--extend", "filed", "--trials", "1", *words]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"add --space {name}" in done.stderr
    assert main(["--extend", "filed", "--trials", "1", "--space", name, "--concurrent", "1", *words]) == 0
    assert len(run.trials()) == 2
    assert "all trials have ended" in capsys.readouterr().out


def test_a_search_that_was_ended_raises_with_its_run(tmp_path, monkeypatch):
    from search import api

    def ended(command):
        command.run = RunFolder(tmp_path)
        return 130

    monkeypatch.setattr(api, "carry_out", ended)
    with pytest.raises(SearchEndedError, match="status 130") as told:
        search(runs_dir=tmp_path)
    assert told.value.status == 130 and told.value.run == RunFolder(tmp_path)
