"""Runs whose values mean something else are refused."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.preparation.stored_plan import stored_plan
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.compatibility import MEASURED, check_comparable
from search.tuning.journal import directions
from trainable.classes import CLASSES
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json

PLAN = new_plan(Settings(), Machine(cores=2, gpus=0)).__dict__


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.path.mkdir()
    write_json(folder.path / "search.json", {"plan": PLAN, **MEASURED})
    return folder


def study(run, direction):
    storage = JournalStorage(JournalFileBackend(str(run.study)))
    optuna.create_study(storage=storage, study_name="a", direction=direction)


OTHERS = [
    ({"metric": "val_loss"}, "run a was searched by val_loss, this search goes by val_miou"),
    ({"direction": "minimize"}, "run a is to minimize val_miou, this search is to maximize it"),
    ({"classes": [*CLASSES[:-1], "Clothes"]}, "other classes .class 10 is 'Clothes' there and 'Clothing' here"),
    ({"classes": list(CLASSES[:9])}, "other classes .9 there, 11 here"),
    ({"classes": 3}, "other classes .found 3"),
]


@pytest.mark.parametrize(("more", "told"), OTHERS)
def test_another_metric_direction_or_classes_are_refused_with_the_remedy(run, more, told):
    write_json(run.path / "search.json", {"plan": PLAN, **MEASURED, **more})
    # A run that goes on has the classes it has.
    for check in (lambda each: check_comparable(each, CLASSES), *(() if "classes" in more else (stored_plan,))):
        with pytest.raises(ValueError, match=f"{told}.*cannot be compared.*name another run, or start a new search"):
            check(run)


def test_a_study_of_the_opposite_direction_is_refused_and_left_as_it_is(run):
    study(run, "minimize")
    before = run.study.read_bytes()
    with pytest.raises(ValueError, match="run a is to minimize val_miou"):
        check_comparable(run)
    assert run.study.read_bytes() == before


def test_runs_of_before_this_was_stored_are_taken_by_their_folds_and_study(run):
    write_json(run.path / "search.json", {"plan": PLAN})
    check_comparable(run)
    study(run, "maximize")
    check_comparable(run)
    folds = {"count": 2, "scenes": 0, "seed": 0, "fold_of": {}, "photos_with_class": [], "classes": ["a", "b"]}
    write_json(run.folds, folds)
    check_comparable(run, ("a", "b"))
    with pytest.raises(ValueError, match="class 0 is 'a' there and 'Background' here"):
        check_comparable(run, CLASSES)


def test_runs_that_are_scored_elsewhere_are_refused(run):
    check_comparable(run, CLASSES, COMPETITION_GEOMETRY)
    with pytest.raises(ValueError, match=r"scored at 256x256, this search at .*40x50.*--score-size"):
        check_comparable(run, CLASSES, Geometry(0.5, (40, 50), False))


@pytest.mark.parametrize("content", [b"", b"{", b'{"op_code": 0}\n', b'{"op_code": 0, "directions": 2}\n', b"[]\n"])
def test_a_journal_without_a_study_has_no_direction(run, content):
    run.study.write_bytes(content)
    assert directions(run.study) == []
    check_comparable(run)
