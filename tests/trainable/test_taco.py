import json
import math

import pytest

from tests.conftest import write_photos
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.labelled_photos import check
from trainable.taco import CLASS_OF, main


def taco_folder(folder):
    content = write_photos(folder)
    (folder / "train_all.json").unlink()
    names = list(CLASS_OF)
    content["categories"] = [{"id": index, "name": name} for index, name in enumerate(names)]
    for index, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = index * 6
    (folder / "annotations.json").write_text(json.dumps(content))
    return [CLASSES[CLASS_OF[names[index * 6]]] for index in range(10)]


def test_taco_becomes_a_valid_data_folder(tmp_path, capsys):
    expected = taco_folder(tmp_path)
    assert main(["--taco", str(tmp_path)]) == 0
    assert "10 photos" in capsys.readouterr().out
    dataset = read_training(tmp_path)
    assert dataset.problems == ()
    assert [CLASSES[photo.annotations[0].class_index] for photo in dataset.photos] == expected


def test_every_class_but_background_is_mapped_to():
    assert set(CLASS_OF.values()) == set(range(1, len(CLASSES)))
    assert len(CLASS_OF) == 61  # TACO's 60, one of them in two spellings


def test_other_annotations_are_refused(tmp_path, capsys):
    write_photos(tmp_path)
    (tmp_path / "train_all.json").rename(tmp_path / "annotations.json")
    assert main(["--taco", str(tmp_path)]) == 2
    assert "not categories of TACO: Clothing, General trash" in capsys.readouterr().err
    assert main(["--taco", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "train_all.json").exists()


def edit(folder, change):
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_tacos_own_files_hold_ends_in_an_accepted_folder(tmp_path, capsys):
    """Ids of two annotations, categories of no annotation, extra keys; boxes of infinite sides around no outline."""
    taco_folder(tmp_path)

    def change(content):
        content["annotations"][4]["id"] = content["annotations"][3]["id"] = 309
        content["annotations"][0].update(bbox=[math.inf, math.inf, -math.inf, -math.inf], area=math.nan, iscrowd=0)
        content["annotations"].append(
            {
                "id": 7001,
                "image_id": 2,
                "category_id": 5,
                "segmentation": [],
                "area": 0,
                "bbox": [math.inf, math.inf, -math.inf, -math.inf],
            }
        )
        content["categories"].append({"id": 99, "name": "Plastified paper plane", "supercategory": "Paper"})
        content["images"][0].update(flickr_url="https://NaN/Infinity.png", license=None)
        content.update(info={"year": 2019}, scene_annotations=[], licenses=[])

    edit(tmp_path, change)
    assert main(["--taco", str(tmp_path)]) == 0
    assert "note: left out 1: annotation 7001 has no outline" in capsys.readouterr().out
    dataset = check(read_training(tmp_path))
    assert [len(photo.annotations) for photo in dataset.photos] == [1] * 10
    image = json.loads((tmp_path / "train_all.json").read_text())["images"][0]
    assert image["flickr_url"] == "https://NaN/Infinity.png"


def test_photo_that_has_no_outline_but_an_annotation_is_left_out_not_background(tmp_path, capsys):
    taco_folder(tmp_path)
    edit(tmp_path, lambda content: content["annotations"][2].update(segmentation=[], bbox=[math.inf] * 4))
    assert main(["--taco", str(tmp_path)]) == 0
    assert "annotation 2 has no outline; photo batch_01_vt/0002.jpg has no other" in capsys.readouterr().out
    dataset = check(read_training(tmp_path))
    assert len(dataset.photos) == 9
    assert all(photo.annotations for photo in dataset.photos)


@pytest.mark.parametrize("spell", [str, float, lambda value: f" {value}.0"])
@pytest.mark.parametrize("key", ["image_id", "category_id", "id of image", "id of category"])
def test_ids_of_one_meaning_are_matched(tmp_path, spell, key):
    """An annotation without an outline finds its photo too: that must not become background."""
    expected = taco_folder(tmp_path)

    def change(content):
        content["annotations"][0]["segmentation"] = []
        where = {"id of image": "images", "id of category": "categories"}.get(key, "annotations")
        for each in content[where]:
            each[key.split()[0]] = spell(each[key.split()[0]])

    edit(tmp_path, change)
    assert main(["--taco", str(tmp_path)]) == 0
    dataset = check(read_training(tmp_path))
    assert [CLASSES[photo.annotations[0].class_index] for photo in dataset.photos] == expected[1:]


@pytest.mark.parametrize("category", [{"name": "trash"}, {"id": 99}, {"id": [1], "name": "Shoe"}, 7])
def test_categories_that_no_annotation_uses_are_ignored(tmp_path, category):
    taco_folder(tmp_path)
    edit(tmp_path, lambda content: content["categories"].insert(0, category))
    assert main(["--taco", str(tmp_path)]) == 0
    assert len(check(read_training(tmp_path)).photos) == 10


@pytest.mark.parametrize(("change", "words", "kept"), [
    (lambda content: content["images"][2].pop("id"), "(batch_01_vt/0002.jpg) needs a whole number as 'id'", 9),
    (lambda content: content["annotations"][2].pop("image_id"), "annotation 2 is of image None, which is not", 9),
    (lambda content: content["annotations"][2].update(image_id=77, segmentation=[]), "is of image 77, which is not", 9),
])  # fmt: skip
def test_entries_of_no_photo_are_told_by_the_training(tmp_path, change, words, kept):
    """The photo that lost its annotation is left out there, not made background."""
    taco_folder(tmp_path)
    edit(tmp_path, change)
    assert main(["--taco", str(tmp_path)]) == 0
    dataset = read_training(tmp_path)
    assert any(words in problem.text for problem in dataset.problems)
    assert "batch_01_vt/0002.jpg" not in {photo.file_name for photo in check(dataset, skip_bad=True).photos}
    assert len(check(dataset, skip_bad=True).photos) == kept


@pytest.mark.parametrize(("change", "words"), [
    (lambda content: content["annotations"][5]["segmentation"][0].append(math.nan), "annotation 5 has NaN or infinite"),
    (lambda content: content["annotations"][5].update(category_id=[1]), "unlisted category ids: [1]; list them"),
    (lambda content: content["annotations"][5].update(category_id="a"), "unlisted category ids: a"),
    (lambda content: content["annotations"][5].pop("category_id"), "unlisted category ids: None"),
    (lambda content: content["categories"][1].update(id=0), "category id 0 is used twice; ids must differ"),
    (lambda content: content["annotations"].append(7), "not a COCO file (an entry is 7)"),
    (lambda content: content.pop("images"), "has a list 'images'"),
])  # fmt: skip
def test_fault_is_told_with_what_has_it(tmp_path, capsys, change, words):
    taco_folder(tmp_path)
    edit(tmp_path, change)
    assert main(["--taco", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "train_all.json").exists()


def test_what_is_no_taco_folder_is_told(tmp_path, capsys):
    taco_folder(tmp_path)
    assert main(["--taco", str(tmp_path / "annotations.json")]) == 2
    assert f"is a file; name the folder that holds it: --taco {tmp_path}" in capsys.readouterr().err
    assert main(["--taco", str(tmp_path / "batch_01_vt")]) == 2
    assert "holds no annotations.json; name TACO's data folder" in capsys.readouterr().err
    (tmp_path / "annotations.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert main(["--taco", str(tmp_path)]) == 2
    assert "git lfs pull" in capsys.readouterr().err
