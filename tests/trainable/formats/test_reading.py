import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.trainable.formats.folders import INSIDE, WRITERS, cvat, mask_folders, voc, write_json, write_mask, yolo
from trainable.classes import COMPETITION, Classes
from trainable.coco.reader import read_training
from trainable.data_errors import DataError
from trainable.dataset.cache import build_cache
from trainable.dataset.data_hash import data_hash
from trainable.formats.reading import FORMATS, find_test_photos, read_data
from trainable.labelled_photos import check, draw_mask

GIVEN = {"train": 2, "val": 1}
SPLITS = {
    **dict.fromkeys(WRITERS, GIVEN),
    "cvat": {},
    "label_studio": {},
    "labelme": {},
}


@pytest.mark.parametrize("name", WRITERS)
def test_folder_is_read_whole_by_looking_at_it(tmp_path, name):
    dataset = check(read_data(WRITERS[name](tmp_path)))
    assert dataset.root == tmp_path
    assert dataset.format
    assert Counter(dataset.given.values()) == SPLITS[name]
    assert len(dataset.photos) == (sum(SPLITS[name].values()) or 2)
    names = [photo.file_name for photo in dataset.photos]
    assert len(set(names)) == len(names)
    assert set(dataset.given) <= set(names)
    for photo in dataset.photos:
        assert (tmp_path / photo.file_name).is_file()
        counts = np.bincount(draw_mask(photo).ravel(), minlength=256)
        assert sorted(counts[counts > 0]) == [INSIDE, 1200 - INSIDE]
    evidence = [each.name for each in FORMATS if each.recognise(tmp_path)]
    assert len(evidence) == 1


@pytest.mark.parametrize("name", WRITERS)
def test_test_photos_are_those_of_the_data_and_train_in_no_fold(tmp_path, name):
    root = WRITERS[name](tmp_path)
    found = find_test_photos(root)
    assert len(found) == (name not in ("cvat", "label_studio", "labelme"))
    assert all((root / each).is_file() for each in found)
    assert not set(found) & {photo.file_name for photo in read_data(root).photos}


@pytest.mark.parametrize("name", WRITERS)
def test_hashes_are_of_content_not_of_place_or_time(tmp_path, name):
    root = WRITERS[name](tmp_path / "one")
    shutil.copytree(root, tmp_path / "two", copy_function=shutil.copyfile)
    first, second = read_data(root), read_data(tmp_path / "two")
    assert first.json_hash == second.json_hash
    assert data_hash(root) == data_hash(tmp_path / "two")
    photo = first.photos[0]
    label = next(path for path in (tmp_path / "two").rglob("*") if path.suffix in (".json", ".png", ".txt")
                 and path.stem.removesuffix("_gtFine_labelIds") in (photo.path.stem.removesuffix("_leftImg8bit"),
                 "train", "_annotations.coco", "instances_default", "instances_train2017", "result")
                 and "leftImg8bit" not in path.name)  # fmt: skip
    if label.suffix == ".png":
        write_mask(label, 0, 0)
    elif label.suffix == ".txt":
        label.write_text("")
    else:
        label.write_text(label.read_text().replace(": 5", ": 6").replace("5, 5", "6, 5").replace("[5", "[6"))
    assert read_data(tmp_path / "two").json_hash != first.json_hash
    assert data_hash(tmp_path / "two") != data_hash(root)


@pytest.mark.parametrize("name", WRITERS)
def test_cache_is_built_of_any_format(tmp_path, name):
    dataset = read_data(WRITERS[name](tmp_path / "data"))
    cache, skipped = build_cache(dataset, 16, tmp_path / "cache")
    assert skipped == ()
    assert len(cache.file_names) == len(dataset.photos)
    assert (cache.class_pixels.sum(axis=1) <= 1200).all()


def test_competition_data_is_as_its_own_reader_has_it(photos):
    ours, its = read_data(photos), read_training(photos)
    assert (ours.photos, ours.problems, ours.json_hash, ours.notes) == (
        its.photos, its.problems, its.json_hash, its.notes,
    )  # fmt: skip
    assert ours.classes == COMPETITION
    assert ours.format == "COCO in the competition's layout (train_all.json)"


def test_split_of_train_all_is_told_by_train_and_val(photos):
    content = json.loads((photos / "train_all.json").read_text())
    write_json(photos / "train.json", {**content, "images": content["images"][:6]})
    write_json(photos / "val.json", {**content, "images": content["images"][6:]})
    assert Counter(read_data(photos).given.values()) == {"train": 6, "val": 4}
    (photos / "val.json").write_text("{")
    assert read_data(photos).given == {}


@pytest.mark.parametrize(("make", "words"), [
    (lambda root: root / "none", "does not exist; pass --data"),
    (lambda root: cvat(root) / "annotations" / "instances_default.json", "is a file; name the folder that holds it"),
    (lambda root: root, r"no labels of a known format: it is empty. Looked for one of\n    train_all.json"),
    (lambda root: cvat(root / "export").parent, r"export/ has some: pass --data .*/export"),
    (lambda root: yolo(mask_folders(root)), r"it may be of 2 formats: YOLO with outlines \(data.yaml\); mask folders"),
    (lambda root: voc(cvat(root)), r"it may be of 2 formats: COCO of CVAT, .*Move what is not to train out"),
])  # fmt: skip
def test_folder_of_no_format_or_of_two_is_told(tmp_path, make, words):
    path = make(tmp_path)
    for read in (read_data, find_test_photos, data_hash):
        with pytest.raises(DataError, match=words):
            read(path)


def test_what_a_folder_holds_instead_is_told(tmp_path):
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"it holds images/, notes.md. Looked for one of"):
        read_data(tmp_path)


def test_folder_of_test_json_alone_has_test_photos(tmp_path):
    write_json(tmp_path / "test.json", {"images": [{"file_name": "a.jpg"}]})
    assert find_test_photos(tmp_path) == ("a.jpg",)
    write_json(tmp_path / "test.json", {"images": [{"file_name": "../a.jpg"}]})
    with pytest.raises(DataError, match="points out of the folder"):
        find_test_photos(tmp_path)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("competition", "voc", "cityscapes")])
def test_given_classes_are_what_the_data_is_read_as(tmp_path, name):
    root = WRITERS[name](tmp_path)
    given = Classes.from_dict(
        {"classes": ["Plant", {"name": "Soil", "from": ["dirt", "x", "things"]}], "background": "background"}
    )
    if name == "mask_folders":
        with pytest.raises(DataError, match=r"--classes does not have: 'leaf'. Its classes are background, Plant"):
            read_data(root, given)
    else:
        (problem, *_) = read_data(root, given).problems
        assert "unknown category 'leaf'. " in problem.text
        assert "pass --classes FILE" in problem.text
    given = Classes.from_dict({**given.to_dict(), "ignore": ["leaf"]})
    dataset = check(read_data(root, given))
    assert dataset.classes == given
    assert {255, 2} <= set(np.concatenate([draw_mask(photo).ravel() for photo in dataset.photos]).tolist())


def test_tacos_own_folder_trains_as_it_is(tmp_path):
    root = cvat(tmp_path)
    content = json.loads((root / "annotations" / "instances_default.json").read_text())
    content["categories"] = [{"id": 1, "name": "Drink can"}, {"id": 2, "name": "Pizza box"}]
    for image in content["images"]:
        image["file_name"] = f"default/{image['file_name']}"
    write_json(root / "annotations.json", content)
    shutil.rmtree(root / "annotations")
    (root / "images" / "default").rename(root / "default")
    dataset = check(read_data(root))
    assert dataset.classes.names == ("Background", "Drink can", "Pizza box")
    dataset = check(read_data(root, Classes.from_file(Path("taco"))))
    assert [draw_mask(photo).max() for photo in dataset.photos] == [4, 2]
