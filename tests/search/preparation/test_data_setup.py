import io
import json
from dataclasses import replace

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


def prepared(sizes, run, tmp_path, resume=False, val=None):
    """Return what is printed; with `val` the data says that the photos from that one on validate."""
    if not resume:
        write_scenes(tmp_path / "data", sizes)
    folds = 3 if val is None else "given"
    options = {"data": tmp_path / "data", "image_size": SIDE, "folds": folds, "cache_dir": tmp_path / "cache"}
    plan = new_plan(Settings(**options), Machine(cores=2, gpus=0))
    console = Console(record=True, width=400)
    dataset = read_training(tmp_path / "data")
    if val is not None:
        names = [photo.file_name for photo in dataset.photos]
        dataset = replace(dataset, given={name: "val" if at >= val else "train" for at, name in enumerate(names)})
    found = prepare(plan, run, dataset, resume, console)
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


def test_a_new_search_begins_with_two_lines_on_its_data(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    first, second, *rest = prepared([1] * 12, run, tmp_path).splitlines()[1:]  # after that of the cache
    assert first == "data: COCO (train_all.json), 12 photos of 32x32, 10 classes and background"
    assert second.startswith("the rarest class is ")
    assert second.endswith(f"; more: python analysis/data_report.py --data {tmp_path / 'data'}")
    assert rest[0].startswith("12 photos: ")
    assert "data_report" not in prepared([], run, tmp_path, resume=True)


def test_scenes_on_both_sides_of_the_datas_own_split_are_a_warning(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a")
    text = prepared([1, 1, 1, 1, 3, 1, 1, 1], run, tmp_path, val=6)  # the eighth looks like the first by chance
    told = "warning: 2 scenes lie on both sides of the data's own split: 2 of the 4 photos that validate look like one"
    assert told in text and "each kept in one fold" not in text
    assert json.loads(run.folds.read_text())["both_sides"] == 2
    assert told in prepared([], run, tmp_path, resume=True, val=6)


def test_a_split_that_keeps_scenes_together_is_told_nothing_of(tmp_path):
    text = prepared([1, 1, 1, 1, 3, 1, 1, 1], RunFolder(tmp_path / "runs" / "a"), tmp_path, val=8)
    assert "both sides" not in text and "each kept in one fold" not in text and "2 validate" in text


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
