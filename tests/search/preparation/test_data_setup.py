import io
import json

import pytest
from rich.console import Console

from search.preparation.data_setup import create, fold_table, prepare
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from tests.conftest import SIDE, write_scenes
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.dataset.folds import Folds
from trainable.run_folder.folders import RunFolder


def prepared(sizes, run, tmp_path, resume=False):
    if not resume:
        write_scenes(tmp_path / "data", sizes)
    options = {"data": tmp_path / "data", "image_size": SIDE, "folds": 3, "cache_dir": tmp_path / "cache"}
    plan = new_plan(Settings(**options), Machine(cores=2, gpus=0))
    console = Console(record=True, width=400)
    found = prepare(plan, run, read_training(tmp_path / "data"), resume, console)
    if not resume:
        create(plan, run, found)
    return console.export_text()


def test_scene_that_makes_folds_uneven_is_told_and_recorded(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    told = "warning: the folds have 3 to 10 photos"
    assert told in (text := prepared([10, 1, 1, 1, 1, 1, 1], run, tmp_path))
    assert "the largest scene has 10 of the 16 photos, such as batch_01_vt/0000.jpg" in text
    assert json.loads(run.folds.read_text())["warning"].startswith("the folds have 3 to 10 photos")
    assert told in prepared([], run, tmp_path, resume=True)


def test_even_folds_are_told_nothing_of(tmp_path):
    assert "warning" not in prepared([3, 1, 2, 1, 1, 1], RunFolder(tmp_path / "runs" / "a"), tmp_path)


def test_one_scene_ends_with_what_to_do_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"all 12 photos look like .* Add photos of 2 other scenes"):
        prepared([12], RunFolder(tmp_path / "runs" / "a"), tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("count", [2, 5, 10])
@pytest.mark.parametrize("photos", [3, 12_000])  # of the first fold; each further one has one more
def test_photos_with_each_class_are_readable_at_any_width(width, count, photos):
    fold_of = {f"{fold}-{number}.jpg": fold for fold in range(count) for number in range(photos + fold)}
    has = tuple(tuple(photos + fold - index for index in range(len(CLASSES))) for fold in range(count))
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(fold_table(Folds(count, 0, fold_of, has, 0), width))
    title, *lines = out.getvalue().splitlines()
    assert title.strip() == "Photos with each class, by fold"
    assert max(map(len, lines)) <= width
    read = {}
    for line in lines:
        name = next(name for name in ("fold", "photos", *sorted(CLASSES, reverse=True)) if line.startswith(name))
        read.setdefault(name, []).extend(map(int, line[len(name) :].split()))
    assert read.pop("fold") == list(range(count))
    assert read.pop("photos") == [photos + fold for fold in range(count)]
    assert read == {name: [row[index] for row in has] for index, name in enumerate(CLASSES) if index}
    if width == 160 or (width == 80 and photos == 3):
        assert len(lines) == 1 + len(CLASSES)  # one table
