"""YOLO and labelme."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.trainable.formats.folders import HEIGHT, INSIDE, WIDTH, labelme, write_photo, yolo
from trainable.data_errors import DataError
from trainable.formats.labelme import BARE as WITHOUT_JSON
from trainable.formats.labelme import OPEN
from trainable.formats.reading import find_test_photos, read_data
from trainable.formats.yolo import BARE
from trainable.labelled_photos import check, draw_mask

# YOLO


@pytest.mark.parametrize("places", [
    ("../train/images", "../valid/images", "../test/images"), ("train/images", "valid", "test/images"),
    ("/home/me/data/train/images", "C:\\data\\valid\\images", ""), ("[train/images]", "valid/images", "none"),
])  # fmt: skip
def test_folders_are_found_however_they_are_written(tmp_path, places):
    root = yolo(tmp_path, *places)
    dataset = check(read_data(root))
    assert [photo.file_name for photo in dataset.photos] == [
        "train/images/a.jpg", "train/images/b.jpg", "valid/images/c.jpg",
    ]  # fmt: skip
    assert dataset.classes.names == ("Background", "leaf", "dirt")
    assert len(find_test_photos(root)) == ("test" in places[2])


def test_lists_of_photos_a_base_folder_and_numbered_names(tmp_path):
    root = yolo(tmp_path / "data")
    (root / "train.txt").write_text("./train/images/a.jpg\ntrain/images/b.jpg\n\n")
    text = "path: ../data\ntrain: train.txt\nval: [valid/images]\nnames:\n  0: leaf\n  1: dirt\n"
    (root / "data.yaml").write_text(text)
    dataset = check(read_data(root))
    assert len(dataset.photos) == 3
    assert dataset.given["train/images/a.jpg"] == "train"


def test_photo_without_label_file_is_background_and_noted(tmp_path):
    root = yolo(tmp_path)
    (root / "train" / "labels" / "a.txt").unlink()
    (root / "train" / "labels" / "b.txt").write_text("")
    (root / "valid" / "labels" / "c.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    dataset = read_data(root)
    assert [(note.kind, note.text) for note in dataset.notes if note.kind == BARE] == [(BARE, "train/images/a.jpg")]
    assert [problem.text for problem in dataset.problems] == [
        "train: no photo has a valid annotation; the split is empty"
    ]


@pytest.mark.parametrize(("line", "words"), [
    ("0 0.5 0.5 0.2 0.2", "labels/a.txt: line 2 of train/images/a.jpg is a box (5 numbers), not an outline; export"),
    ("7 0.1 0.1 0.9 0.1 0.9 0.9", "has the class '7', which data.yaml does not name; it has 0, 1, 2"),
    ("0.5 0.1 0.1 0.9 0.1 0.9 0.9", "has the class '0.5', which data.yaml does not name"),
    ("0 0.1 0.1 0.9 0.1 0.9", "has 5 coordinates; an outline has x and y of 3 points or more"),
    ("0", "has 0 coordinates"),
    ("leaf 0.1 0.1 0.9 0.1 0.9 0.9", "must be numbers, found 'leaf 0.1"),
    ("0 nan 0.1 0.9 0.1 0.9 0.9", "has a polygon with NaN or infinite coordinates"),
    ("0 5 5 30 5 30 20", "has the point (200, 150) outside the photo of 40x30"),
])  # fmt: skip
def test_line_that_breaks_a_rule_is_named(tmp_path, line, words):
    root = yolo(tmp_path)
    path = root / "train" / "labels" / "a.txt"
    path.write_text(f"{path.read_text()}{line}\n")
    dataset = read_data(root)
    (problem,) = dataset.problems
    assert problem.file_name == "train/images/a.jpg"
    assert words in problem.text
    assert len(check(dataset, skip_bad=True).photos) == 2


@pytest.mark.parametrize(("content", "words"), [
    ("names: [", r"data.yaml is not valid yaml \(.*\); mend it"),
    ("!!python/object/apply:os.system ['true']", "is not valid yaml"),
    ("- 1", "data.yaml must hold keys names, train and val, found"),
    ("train: train/images\nval: valid/images", "data.yaml: 'names' is a list of class names, or gives each number"),
    ("names: {a: b}\ntrain: train/images", "'names' is a list of class names"),
    ("names: [leaf, dirt]\ntrain: nowhere", r"'train' is 'nowhere', and there is no such folder in"),
    ("names: [leaf, dirt]\ntrain: ../../../etc", "there is no such folder"),
    ("names: [leaf, dirt]\ntrain: 7", "'train' is a folder or a list of them, found 7"),
    ("names: [leaf, dirt]", "'train' and 'val' name no photo"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nnames: *b", "'names' is a list of class names"),
    ("[" * 9999, "is not valid yaml"),
])  # fmt: skip
def test_data_yaml_that_breaks_a_rule_is_told(tmp_path, content, words):
    root = yolo(tmp_path)
    (root / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=words):
        read_data(root)


def test_photo_for_train_and_val_is_bad(tmp_path):
    dataset = read_data(yolo(tmp_path, "[train/images, valid/images]"))
    assert [problem.file_name for problem in dataset.problems][:1] == ["valid/images/c.jpg"]
    assert "is for train and for val; keep it in one" in dataset.problems[0].text


# labelme


def edit(root, change, name="a.json"):
    content = json.loads((root / name).read_text())
    change(content)
    (root / name).write_text(json.dumps(content))
    return root


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


LARGE = png(np.full((99, 99), True))


@pytest.mark.parametrize(("shape", "pixels"), [
    ({"shape_type": "rectangle", "points": [[5, 5], [25, 20]]}, INSIDE),
    ({"shape_type": "rectangle", "points": [[5, 5], [25, 5], [25, 20], [5, 20]]}, INSIDE),
    ({"shape_type": "circle", "points": [[15, 15], [15, 20]]}, 76),
    ({"shape_type": "mask", "points": [[5, 5], [24, 19]], "mask": png(np.full((15, 20), True))}, INSIDE),
    ({"shape_type": None}, INSIDE),
])  # fmt: skip
def test_shapes_of_every_kind_are_drawn(tmp_path, shape, pixels):
    root = edit(labelme(tmp_path), lambda content: content["shapes"][0].update(shape))
    dataset = check(read_data(root))
    assert dataset.classes.names == ("Background", "dirt", "leaf")
    assert (draw_mask(dataset.photos[0]) == 2).sum() == pytest.approx(pixels, abs=4)


def test_order_of_classes_is_that_of_labels_txt(tmp_path):
    (labelme(tmp_path) / "labels.txt").write_text("__ignore__\n_background_\nleaf\ndirt\n")
    assert read_data(tmp_path).classes.names == ("Background", "leaf", "dirt")


def test_photos_in_another_folder_are_found_and_those_without_json_noted(tmp_path):
    root = labelme(tmp_path)
    (root / "photos").mkdir()
    (root / "a.jpg").rename(root / "photos" / "a.jpg")
    edit(root, lambda content: content.update(imagePath="photos\\a.jpg"))
    write_photo(root / "z.jpg")
    dataset = check(read_data(root))
    assert [photo.file_name for photo in dataset.photos] == ["photos/a.jpg", "b.jpg"]
    assert [(note.kind, note.text) for note in dataset.notes] == [(WITHOUT_JSON, "z.jpg")]


def test_line_beside_a_polygon_is_noted_and_alone_a_problem(tmp_path):
    line = {"label": "leaf", "shape_type": "line", "points": [[1, 1], [9, 9]]}
    root = edit(labelme(tmp_path), lambda content: content["shapes"].append(line))
    assert [note.kind for note in check(read_data(root)).notes] == [OPEN]
    edit(root, lambda content: content.update(shapes=[line]))
    (problem,) = read_data(root).problems
    assert problem.text == "a.json: shape 0 of a.jpg, leaf, has no area, and the photo has no other; outline it"


@pytest.mark.parametrize(("change", "words"), [
    (lambda content: content["shapes"][0].update(label=7), "shape 0 of a.jpg must be an object with a text as 'label'"),
    (lambda content: content["shapes"].append(7), "shape 1 of a.jpg must be an object with a text as 'label', found 7"),
    (lambda content: content["shapes"][0].update(points=[[1, "a"]]), "needs points [x, y], found [[1, 'a']]"),
    (lambda content: content["shapes"][0].update(shape_type="star"), "is of the type 'star'; polygon, rectan"),
    (lambda content: content["shapes"][0].update(shape_type="circle", points=[[1, 1]]), "is a circle of 1 points"),
    (lambda content: content["shapes"][0].update(shape_type="mask", mask="!"), "is a mask that cannot be read"),
    (lambda content: content["shapes"][0].update(shape_type="mask", mask=LARGE),
     "it is 99x99, larger than its photo"),
    (lambda content: content["shapes"][0].update(points=[[1, 1], [500, 1], [9, 9]]), "outside the photo of 40x30"),
    (lambda content: content.update(imageWidth=41), f"photo a.jpg is {WIDTH}x{HEIGHT}, the json says 41x30"),
    (lambda content: content.update(imagePath="../../etc/passwd"), ""),
    (lambda content: content.update(shapes={}), "a.json: must be an object with a list 'shapes'"),
])  # fmt: skip
def test_fault_of_a_shape_is_named(tmp_path, change, words):
    dataset = read_data(edit(labelme(tmp_path), change))
    assert len(dataset.problems) == bool(words)
    if words:
        assert words in dataset.problems[0].text
        assert [photo.file_name for photo in check(dataset, skip_bad=True).photos] == ["b.jpg"]


def test_cut_off_json_leaves_its_photo_out(tmp_path):
    root = labelme(tmp_path)
    (root / "a.json").write_text((root / "a.json").read_text()[:150])
    dataset = read_data(root)
    assert dataset.problems[0].file_name == "a.jpg"
    assert "a.json: is not valid json" in dataset.problems[0].text
    assert [photo.file_name for photo in check(dataset, skip_bad=True).photos] == ["b.jpg"]
