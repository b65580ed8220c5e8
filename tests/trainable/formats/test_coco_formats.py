import json

import pytest

from tests.trainable.formats.folders import (
    coco,
    coco_own,
    cvat,
    label_studio,
    roboflow,
    write_json,
    write_photo,
)
from trainable.coco.own_classes import UNUSED
from trainable.data_errors import DataError
from trainable.formats.reading import find_test_photos, read_data
from trainable.labelled_photos import check


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_roboflows_supercategory_is_left_out_and_classes_are_of_all_files(tmp_path):
    dataset = check(read_data(roboflow(tmp_path)))
    assert dataset.classes.names == ("Background", "leaf", "dirt")
    assert [(note.kind, note.text) for note in dataset.notes] == [(UNUSED, "'things'")]
    assert [photo.file_name for photo in dataset.photos] == ["train/a.jpg", "train/b.jpg", "valid/c.jpg"]


def test_names_of_photos_in_two_folders_may_be_the_same(tmp_path):
    root = roboflow(tmp_path)
    (root / "valid" / "c.jpg").rename(root / "valid" / "a.jpg")
    edit(root / "valid" / "_annotations.coco.json", lambda content: content["images"][0].update(file_name="a.jpg"))
    assert [photo.file_name for photo in check(read_data(root)).photos][::2] == ["train/a.jpg", "valid/a.jpg"]


def test_fault_names_its_file(tmp_path):
    root = roboflow(tmp_path)
    edit(root / "valid" / "_annotations.coco.json", lambda content: content["annotations"][0].update(category_id=9))
    (root / "train" / "a.jpg").unlink()
    first, second = (problem.text for problem in read_data(root).problems[:2])
    assert first.startswith(
        "train/_annotations.coco.json: photo train/a.jpg does not exist; add it or remove its entry"
    )
    assert second.startswith(
        "valid/_annotations.coco.json: annotation 0 of valid/c.jpg has category id 9, which is not"
    )


def test_test_folder_alone_does_not_train(tmp_path):
    root = roboflow(tmp_path)
    for name in ("train", "valid"):
        (root / name / "_annotations.coco.json").unlink()
    with pytest.raises(DataError, match=r"only test/_annotations.coco.json found; training needs train/"):
        read_data(root)


@pytest.mark.parametrize("place", ["images/default", "images", "default", "data", "."])
def test_cvats_photos_are_found_where_they_are(tmp_path, place):
    root = cvat(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        (root / place).mkdir(exist_ok=True)
        (root / "images" / "default" / name).rename(root / place / name)
    prefix = "" if place == "." else f"{place}/"
    assert [photo.file_name for photo in check(read_data(root)).photos] == [f"{prefix}a.jpg", f"{prefix}b.jpg"]


def test_whole_and_parts_together_are_refused(tmp_path):
    root = coco_own(tmp_path)
    write_json(root / "annotations" / "instances_default.json", coco(["a.jpg"], ["leaf"]))
    with pytest.raises(DataError, match=r"keep one of all photos, or those of train and val alone"):
        read_data(root)


def test_photo_of_two_parts_is_bad(tmp_path):
    root = coco_own(tmp_path)
    write_photo(root / "images" / "z.jpg")
    for name in ("train2017", "val2017"):
        path = root / "annotations" / f"instances_{name}.json"
        edit(path, lambda content: content["images"][0].update(file_name="images/z.jpg"))
    assert "photo images/z.jpg is listed twice; keep one entry" in read_data(root).problems[0].text


def test_label_studios_paths_of_another_machine_are_found_by_name(tmp_path):
    root = label_studio(tmp_path)
    assert [photo.file_name for photo in check(read_data(root)).photos] == ["images/a.jpg", "images/b.jpg"]
    (root / "images" / "a.jpg").unlink()
    (problem,) = read_data(root).problems
    assert "points out of the folder" in problem.text or "does not exist" in problem.text


def test_two_files_for_all_photos_are_refused(tmp_path):
    root = label_studio(tmp_path)
    write_json(root / "dataset.json", {})
    with pytest.raises(DataError, match=r"result.json and dataset.json may both hold the labels; move the others out"):
        read_data(root)


def test_misspelling_among_the_competitions_names_stays_an_error(tmp_path):
    root = cvat(tmp_path)
    names = ["Paper", "Metall", "Glass", "Battery"]
    write_json(root / "annotations" / "instances_default.json", coco(["a.jpg", "b.jpg"], names))
    (problem,) = read_data(root).problems
    assert "unknown category 'Metall'; did you mean 'Metal'? 1 annotation has it. The classes are" in problem.text
    assert problem.text.endswith("or pass --classes FILE, a file of classes that takes it by 'from' or 'ignore'")


def test_names_like_the_competitions_but_none_of_them_are_ones_own(tmp_path):
    root = cvat(tmp_path)
    write_json(root / "annotations" / "instances_default.json", coco(["a.jpg", "b.jpg"], ["paper", "metal"]))
    assert check(read_data(root)).classes.names == ("Background", "paper", "metal")


def test_test_photos_are_where_their_folder_is(tmp_path):
    assert find_test_photos(coco_own(tmp_path)) == ("test2017/d.jpg",)
