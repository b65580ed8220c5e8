import json
import math

import numpy as np
import pytest
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO

from trainable.classes import CLASSES
from trainable.coco.annotations import _run_total
from trainable.coco.reader import read_training
from trainable.data_errors import DataError
from trainable.labelled_photos import check, draw_mask


def problems(folder):
    return [problem.text for problem in read_training(folder).problems]


def test_reads_every_photo(photos):
    dataset = read_training(photos)
    assert len(dataset.photos) == 10
    assert dataset.problems == ()
    assert [photo.annotations[0].class_index for photo in dataset.photos] == list(range(1, 11))


def split(photos, change=lambda name, annotations: annotations):
    """Write train.json of six photos and val.json of the other four in place of train_all.json."""
    content = json.loads((photos / "train_all.json").read_text())
    (photos / "train_all.json").unlink()
    for name, part in (("train.json", content["images"][:6]), ("val.json", content["images"][6:])):
        ids = {image["id"] for image in part}
        annotations = change(name, [each for each in content["annotations"] if each["image_id"] in ids])
        (photos / name).write_text(json.dumps({**content, "images": part, "annotations": annotations}))


def test_train_and_val_are_read_together_where_there_is_no_train_all(photos):
    split(photos)
    assert len(read_training(photos).photos) == 10


@pytest.mark.parametrize("bare", ["train.json", "val.json"])
def test_each_json_needs_annotations(photos, bare):
    """Its photos would all be background."""
    split(photos, lambda name, annotations: [] if name == bare else annotations)
    assert problems(photos) == [f"{bare}: no photo has a valid annotation; the split is empty"]
    with pytest.raises(DataError):
        check(read_training(photos), skip_bad=True)


def test_json_whose_photos_are_all_bad_can_be_left_out(photos):
    split(
        photos,
        lambda name, annotations: [
            {**each, "segmentation": []} if name == "val.json" else each for each in annotations
        ],
    )
    assert len(check(read_training(photos), skip_bad=True).photos) == 6


def test_categories_are_matched_by_name_not_by_id(edit):
    def shift(content):
        for entry in content["categories"]:
            entry["id"] += 100
        for entry in content["annotations"]:
            entry["category_id"] += 100

    assert read_training(edit(shift)).photos[4].annotations[0].class_index == 5


def test_smaller_annotations_lie_on_larger_ones(edit):
    def nest(content):
        small = {**content["annotations"][0], "id": 99, "category_id": 7, "area": 4.0}
        x, y = content["annotations"][0]["segmentation"][0][:2]
        small["segmentation"] = [[x + 2, y + 2, x + 4, y + 2, x + 4, y + 4, x + 2, y + 4]]
        content["annotations"].insert(0, small)  # listed first, yet drawn last

    mask = draw_mask(read_training(edit(nest)).photos[0])
    assert (mask == 7).sum() == 4
    assert (mask == 1).sum() == 192


def test_masks_equal_the_competitions_loader_on_real_photos(trash):
    coco = COCO(str(trash / "train_all.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    for photo in read_training(trash).photos[::7]:
        image = next(image for image in coco.dataset["images"] if image["file_name"] == photo.file_name)
        expected = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in sorted(coco.imgToAnns[image["id"]], key=lambda each: each["area"], reverse=True):
            expected[coco.annToMask(annotation) == 1] = CLASSES.index(names[annotation["category_id"]])
        np.testing.assert_array_equal(draw_mask(photo), expected)


@pytest.mark.parametrize("compressed", [True, False])
def test_run_length_codes_give_the_same_mask_as_polygons(edit, photos, compressed):
    before = draw_mask(read_training(photos).photos[3])
    pixels = np.asfortranarray((before == 4).astype(np.uint8))

    def encode(content):
        if compressed:
            rle = rle_masks.encode(pixels)
            rle["counts"] = rle["counts"].decode()
        else:
            flat = pixels.ravel(order="F")
            edges = np.flatnonzero(np.diff(flat)) + 1
            counts = np.diff([0, *edges, len(flat)]).tolist()
            rle = {"size": list(pixels.shape), "counts": [0, *counts] if flat[0] else counts}
        content["annotations"][3]["segmentation"] = rle

    dataset = read_training(edit(encode))
    assert dataset.problems == ()
    np.testing.assert_array_equal(draw_mask(dataset.photos[3]), before)


def test_run_total_adds_up_any_code():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pixels = np.asfortranarray((rng.random(rng.integers(1, 40, 2)) < rng.random()).astype(np.uint8))
        assert _run_total(rle_masks.encode(pixels)["counts"].decode()) == pixels.size


def polygon(content, values):
    content["annotations"][2]["segmentation"] = [values]


FAULTS = {
    "2 points; at least 3": lambda content: polygon(content, [1, 1, 5, 5]),
    "7 numbers; they come in pairs": lambda content: polygon(content, [1, 1, 5, 5, 9, 1, 3]),
    "outside the photo of 32x32": lambda content: polygon(content, [1, 1, 50, 1, 9, 9]),
    "NaN or infinite": lambda content: polygon(content, [1, 1, math.nan, 1, 9, 9]),
    "flat list of numbers": lambda content: polygon(content, ["a", 1, 5, 5, 9, 1]),
    "must be a list of polygons": lambda content: content["annotations"][2].update(segmentation=[]),
    "does not add up": lambda content: content["annotations"][2].update(
        segmentation={"size": [32, 32], "counts": [5, 5]}
    ),
    "run-length code of size": lambda content: content["annotations"][2].update(
        segmentation={"size": [9, 9], "counts": [81]}
    ),
    "unknown category 'Papier'; did you mean 'Paper'?": lambda content: content["categories"][1].update(name="Papier"),
    "category id 77, which is not listed": lambda content: content["annotations"][2].update(category_id=77),
    "is of image 99, which is not listed": lambda content: content["annotations"][2].update(image_id=99),
    "image id 0 is used by": lambda content: content["images"][1].update(id=0),
    "is listed twice": lambda content: content["images"][1].update(file_name="batch_01_vt/0000.jpg"),
    "does not exist": lambda content: content["images"][1].update(file_name="batch_01_vt/none.jpg"),
    "is 32x32, the json says 32x64": lambda content: content["images"][1].update(height=64),
    "needs a whole number of 1 to 32768 as 'width'": lambda content: content["images"][1].update(width="wide"),
    "category 'Metal' needs a whole number as id": lambda content: content["categories"][3].update(id=[4]),
    "category id 1 is used twice": lambda content: content["categories"][3].update(id=1),
    "is of image [1], which": lambda content: content["annotations"][2].update(image_id=[1]),
    "is of image True, which": lambda content: content["annotations"][2].update(image_id=True),
    "is of image None, which": lambda content: content["annotations"][2].pop("image_id"),
    "has category id {}, which": lambda content: content["annotations"][2].update(category_id={}),
    "has category id None, which": lambda content: content["annotations"][2].pop("category_id"),
    "annotation 3 must be an object": lambda content: content["annotations"].insert(3, 7),
    "needs a file_name, found ['a']": lambda content: content["images"][1].update(file_name=["a"]),
    "needs a file_name, found 'a\\x00b'": lambda content: content["images"][1].update(file_name="a\x00b"),
    "whole number of 1 to 32768 as 'height'": lambda content: content["images"][1].update(height=10**7),
    "of size 5, the photo": lambda content: content["annotations"][2].update(segmentation={"size": 5}),
    "has a damaged run-length code": lambda content: content["annotations"][2].update(
        segmentation={"size": [32, 32], "counts": "PPY`0o"}
    ),
    "counts of type NoneType": lambda content: content["annotations"][2].update(segmentation={"size": [32, 32]}),
    "NaN or infinite coordinates": lambda content: polygon(content, [1, 1, 10**400, 1, 9, 9]),
}


@pytest.mark.parametrize("text", FAULTS)
def test_fault_is_named_with_its_rule_and_raised(edit, text):
    folder = edit(FAULTS[text])
    found = problems(folder)
    assert any(text in problem and "train_all.json" in problem for problem in found), found
    with pytest.raises(DataError, match="problem"):
        check(read_training(folder))


def test_unreadable_photo_is_named(photos):
    (photos / "batch_01_vt" / "0004.jpg").write_bytes(b"not a photo")
    assert "0004.jpg cannot be read" in problems(photos)[0]


def test_missing_folder_missing_json_and_cut_off_json(tmp_path, photos):
    with pytest.raises(DataError, match="does not exist; pass --data"):
        read_training(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"train.json and val.json not found"):
        read_training(tmp_path)
    text = (photos / "train_all.json").read_text()
    (photos / "train_all.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"is not valid json .* was it cut off"):
        read_training(photos)
    (photos / "train_all.json").write_text("{}")
    with pytest.raises(DataError, match="a COCO file has a list 'images'"):
        read_training(photos)


def test_empty_split_is_a_problem_but_a_photo_without_annotations_is_not(edit):
    assert problems(edit(lambda content: content["annotations"].pop(0))) == []
    assert any("the split is empty" in text for text in problems(edit(lambda content: content["annotations"].clear())))
    assert any("lists no photos" in text for text in problems(edit(lambda content: content["images"].clear())))


def test_all_problems_are_told_at_once_and_the_list_is_cut_at_20(edit):
    def spoil(content):
        for annotation in content["annotations"]:
            annotation["segmentation"] = [[1, 1, 2, 2]]
        content["annotations"] += [{**content["annotations"][0], "id": 100 + index} for index in range(15)]

    dataset = read_training(edit(spoil))
    with pytest.raises(DataError) as raised:
        check(dataset)
    assert str(raised.value).startswith("26 problems in")
    assert "and 6 more" in str(raised.value)
    assert str(raised.value).count("at least 3") == 20


def test_skip_bad_leaves_out_only_the_bad_photos(edit):
    dataset = check(read_training(edit(lambda content: polygon(content, [1, 1, 5, 5]))), skip_bad=True)
    assert len(dataset.photos) == 9
    assert "batch_01_vt/0002.jpg" not in {photo.file_name for photo in dataset.photos}
    with pytest.raises(DataError):  # not about one photo
        check(read_training(edit(lambda content: content["categories"][1].update(name="Papier"))), skip_bad=True)
