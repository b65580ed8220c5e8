"""Data that people really have: what has one meaning is read and noted, and no annotated photo becomes background."""

import bz2
import copy
import itertools
import json
import lzma
import math
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_masks

from trainable.classes import CLASSES, COMPETITION, IGNORE_INDEX, Classes
from trainable.coco.annotations import CLIPPED, EMPTY, FLAT, PAIRS, STRAY, read_outline, to_rle
from trainable.coco.images import PAGES, REPEATED, SIZES
from trainable.coco.own_classes import TACO_NOTE, UNUSED
from trainable.coco.reader import read_training
from trainable.data_errors import DataError, data_notes
from trainable.labelled_photos import check, draw_mask

WIDTH, HEIGHT = 160, 120


def box(x, y, width, height):
    return [x, y, x + width, y, x + width, y + height, x, y + height]


@pytest.fixture
def write(tmp_path):
    """Write photos of noise with the annotations given, each a class, an outline and more keys; returns the folder."""

    def write(*photos, change=lambda content: None):
        rng, images, annotations = np.random.default_rng(0), [], []
        for index, each in enumerate(photos):
            name = f"{index}.png"
            Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(tmp_path / name)
            images.append({"id": index + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
            for class_index, segmentation, more in each:
                own = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": class_index}
                annotations.append({**own, "segmentation": segmentation, **more})
        categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES) if index]
        content = {"images": images, "annotations": annotations, "categories": categories}
        change(content)
        (tmp_path / "train_all.json").write_text(json.dumps(content))
        return tmp_path

    return write


def plain(*class_indices):
    """One photo for each class, with a box."""
    return [[(class_index, [box(20, 20, 60, 40)], {})] for class_index in class_indices]


def kinds(dataset):
    return [note.kind for note in dataset.notes]


def pixels(folder, position=0):
    dataset = check(read_training(folder))
    return np.bincount(draw_mask(dataset.photos[position]).ravel(), minlength=11)


def left(folder):
    """Return the photos that --skip-bad keeps, none of which may be all background here."""
    dataset = check(read_training(folder), skip_bad=True)
    assert all((draw_mask(photo) > 0).any() for photo in dataset.photos)
    return [photo.file_name for photo in dataset.photos]


# Ids


def test_annotation_ids_are_of_no_use_and_may_repeat_or_be_anything(write):
    def same(content):
        for each, own_id in zip(content["annotations"], [0, 0, "two", None], strict=True):
            each["id"] = own_id

    dataset = check(read_training(write(*plain(1, 2, 3, 4), change=same)))
    assert [len(photo.annotations) for photo in dataset.photos] == [1, 1, 1, 1]


@pytest.mark.parametrize("spell", [str, float, lambda value: f"{value}.0", lambda value: f" {value} "])
@pytest.mark.parametrize("key", ["image_id", "category_id", "id of image", "id of category"])
def test_ids_as_text_or_float_that_mean_one_number_are_matched(write, key, spell):
    def change(content):
        where = {"id of image": "images", "id of category": "categories"}.get(key, "annotations")
        for each in content[where][::2]:
            each[key.split()[0]] = spell(each[key.split()[0]])

    dataset = check(read_training(write(*plain(1, 2, 3), change=change)))
    assert [photo.annotations[0].class_index for photo in dataset.photos] == [1, 2, 3]


def test_ids_that_are_text_are_ids(write):
    def change(content):
        for image, annotation in zip(content["images"], content["annotations"], strict=True):
            image["id"] = annotation["image_id"] = f"photo-{image['id']}"

    assert left(write(*plain(1, 2), change=change)) == ["0.png", "1.png"]


def test_ids_of_one_meaning_twice_are_ambiguous(write):
    folder = write(*plain(1, 2, 3), change=lambda content: content["images"][1].update(id="1"))
    with pytest.raises(DataError, match=r"image id 1 is used by 0.png and 1.png; ids must differ") as raised:
        check(read_training(folder))
    assert str(raised.value).count("image id 1") == 1
    assert left(folder) == ["2.png"]


@pytest.mark.parametrize("change", [{}, {"id": "1"}, {"file_name": "./0.png"}, {"license": 3}])
def test_entry_that_is_given_twice_is_read_once_and_noted(write, change):
    def repeat(content):
        content["images"].append({**content["images"][0], **change})

    dataset = check(read_training(write(*plain(1, 2), change=repeat)))
    assert [(note.kind, note.text) for note in dataset.notes] == [(REPEATED, "0.png")]
    assert [len(photo.annotations) for photo in dataset.photos] == [1, 1]


@pytest.mark.parametrize(("change", "words"), [
    ({"width": 80}, "photo 0.png is listed twice, with other sizes; keep the entry of the size that it has"),
    ({"file_name": "other.png"}, "image id 1 is used by 0.png and other.png; ids must differ"),
    ({"id": 9}, "photo 0.png is listed twice; keep one entry, with the annotations of both"),
    ({"id": 9, "file_name": "./0.png"}, "photo ./0.png or 0.png is listed twice; keep one entry"),
])  # fmt: skip
def test_entry_that_contradicts_another_is_told_once(write, change, words):
    folder = write(*plain(1, 2), change=lambda content: content["images"].append({**content["images"][0], **change}))
    with pytest.raises(DataError, match=r"^1 problem in") as raised:
        check(read_training(folder))
    assert str(raised.value).count(words) == 1
    assert left(folder) == ["1.png"]


def test_annotations_of_an_id_whose_first_photo_is_missing_are_not_the_seconds(write):
    def change(content):
        content["images"].insert(0, {"id": 1, "file_name": "none.png"})

    assert left(write(*plain(1, 2), change=change)) == ["1.png"]


@pytest.mark.parametrize("image_id", ["one", 77, None, True, [1], 1.5, {}, "1.jpg", ""])
def test_photos_that_lost_annotations_are_left_out_with_the_annotations(write, image_id):
    """Half of the annotations name no listed photo: those photos must not train as background."""

    def change(content):
        for each in content["annotations"][::2]:
            each["image_id"] = image_id

    folder = write(*plain(1, 2, 3, 4), change=change)
    with pytest.raises(DataError) as raised:
        check(read_training(folder))
    assert "which is not listed" in str(raised.value)
    assert "remove it" not in str(raised.value)
    assert left(folder) == ["1.png", "3.png"]


def test_annotation_that_is_no_object_makes_photos_without_one_suspect(write):
    folder = write(*plain(1, 2), change=lambda content: content["annotations"].__setitem__(0, 7))
    assert left(folder) == ["1.png"]


def test_photos_without_annotation_stay_background_where_every_annotation_has_its_photo(write):
    dataset = check(read_training(write(*plain(1, 2), [])), skip_bad=True)
    assert [len(photo.annotations) for photo in dataset.photos] == [1, 1, 0]


@pytest.mark.parametrize("change", [
    lambda annotation: annotation.update(category_id=99),
    lambda annotation: annotation.update(category_id=None),
    lambda annotation: annotation.update(segmentation=[[20, 20, math.nan, 20, 60, 60]]),
    lambda annotation: annotation.update(segmentation={"size": [9, 9], "counts": [81]}),
    lambda annotation: annotation.update(segmentation=[box(20, 20, 600, 40)]),
    lambda annotation: annotation.update(segmentation=["a"]),
    lambda annotation: annotation.update(segmentation=[]),
    lambda annotation: annotation.update(segmentation=[[80, 60]]),
    lambda annotation: annotation.update(segmentation={"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}),
    lambda annotation: annotation.update(segmentation=[box(-6, 20, 4, 4)]),
    *(lambda annotation, outline=outline: annotation.update(segmentation=[outline]) for outline in (
        [20, 20, 40, 20, 60, 20],  # a line
        [20.1, 20.1, 20.2, 20.1, 20.2, 20.2],
        [160, 20, 161, 20, 161, 60, 160, 60],  # beside the photo, within the tolerance
        box(20, 20, 60, 40) * 2,  # round twice: what is inside an even number of times is outside
        [0.1, 0.1, 0.5, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5], box(0, 0, 1, 1),
    )),
    lambda annotation: annotation.pop("segmentation"),
    lambda annotation: annotation.pop("category_id"),
])  # fmt: skip
def test_photo_whose_only_annotation_cannot_be_drawn_is_left_out(write, change):
    folder = write(*plain(1, 2), change=lambda content: change(content["annotations"][0]))
    with pytest.raises(DataError, match=r"annotation 1 of 0\.png"):
        check(read_training(folder))
    assert left(folder) == ["1.png"]


# Draw order

STRAW = [30, 20, 36, 16, 124, 100, 118, 104]


@pytest.mark.parametrize("areas", [(8272, 3000), (0, 0), (None, None), (-1, math.inf), ("8272", [])])
def test_what_covers_less_is_drawn_on_top_whatever_the_json_says(write, areas):
    straw, lid = ({} if area is None else {"area": area} for area in areas)
    for order in (1, -1):
        photo = [(6, [STRAW], straw), (4, [box(50, 30, 50, 60)], lid)][::order]
        drawn = pixels(write(photo))
        assert drawn[6] == 856  # all of it
        assert drawn[4] < 3000


def test_order_is_that_of_areas_that_are_right(trash):
    content = json.loads((trash / "train_all.json").read_text())
    name_of = {image["id"]: image["file_name"] for image in content["images"]}
    areas = {}
    for each in content["annotations"]:
        areas.setdefault(name_of[each["image_id"]], []).append(each["area"])
    for photo in read_training(trash).photos[::5]:
        by_json = np.zeros((photo.height, photo.width), np.uint8)
        pairs = zip(areas.get(photo.file_name, []), photo.annotations, strict=True)
        for _, each in sorted(pairs, key=lambda pair: -pair[0]):
            by_json[rle_masks.decode(each.rle) == 1] = each.class_index
        np.testing.assert_array_equal(draw_mask(photo), by_json)


# Categories


@pytest.mark.parametrize("category", [
    {"id": 0, "name": "trash-segmentation", "supercategory": "none"}, {"id": 11, "name": "Paper pakc"}, {"name": "x"},
    {"id": [1], "name": "Metal"}, 7, {"id": 12}, {"id": 1, "name": CLASSES[1]},
])  # fmt: skip
def test_categories_that_no_annotation_uses_are_ignored(write, category):
    folder = write(*plain(1, 2), change=lambda content: content["categories"].insert(0, category))
    assert read_training(folder).problems == ()


def test_categories_of_ones_own_are_the_classes(write):
    def change(content):
        content["categories"] = [{"id": index, "name": f"Glass part {index}"} for index in range(1, 20)]

    dataset = check(read_training(write(*plain(*range(1, 11), 11, 12), change=change)))
    assert dataset.classes.names == ("Background", *(f"Glass part {index}" for index in range(1, 13)))
    assert dataset.classes.background
    assert [(note.kind, note.text) for note in dataset.notes] == [
        (UNUSED, f"'Glass part {index}'") for index in range(13, 20)
    ]


def test_categories_that_given_classes_do_not_have_are_one_clear_statement(write):
    def change(content):
        content["categories"] = [{"id": index, "name": f"Glass part {index}"} for index in range(1, 20)]

    folder = write(*plain(*range(1, 11), 11, 12), change=change)
    (problem,) = read_training(folder, classes=COMPETITION).problems
    assert problem.file_name is None
    assert problem.text.startswith("train_all.json: 12 categories of annotations are none of the classes: 'Glass part")
    assert "and 2 more. The classes are General trash, Paper," in problem.text
    assert "did you mean" not in problem.text
    assert problem.text.endswith("or pass --classes FILE, a file of classes that takes it by 'from' or 'ignore'")


def tacos(content):
    names = {1: "Glass bottle", 2: "Battery", 3: "Shoe"}
    content["categories"] = [{"id": index, "name": name} for index, name in names.items()]


def test_tacos_own_categories_train_and_name_the_classes_that_take_them(write):
    folder = write(*plain(1, 2, 3), change=tacos)
    dataset = check(read_training(folder))
    assert dataset.classes.names == ("Background", "Glass bottle", "Battery", "Shoe")
    assert data_notes(dataset.notes, ()) == [f"{TACO_NOTE}: 3 of them"]
    dataset = check(read_training(folder, classes=Classes.from_file(Path("taco"))))
    assert [CLASSES[photo.annotations[0].class_index] for photo in dataset.photos] == ["Glass", "Battery", "Clothing"]


def test_tacos_categories_for_the_competitions_classes_name_the_file(write):
    (problem,) = read_training(write(*plain(1, 2, 3), change=tacos), classes=COMPETITION).problems
    assert problem.text.endswith("They are TACO's: --classes taco makes them the competition's classes")


def test_another_category_beside_the_competitions_makes_own_classes(write):
    folder = write(*plain(2, 6, 7), change=lambda content: content["categories"][5].update(name="Cigarette"))
    assert check(read_training(folder)).classes.names == ("Background", "Paper", "Cigarette", "Styrofoam")


def test_category_that_is_to_be_ignored_is(write):
    def change(content):
        content["categories"] = [{"id": 1, "name": "leaf"}, {"id": 2, "name": "void"}, {"id": 3, "name": "dirt"}]

    folder = write([(1, [box(20, 20, 60, 40)], {}), (2, [box(100, 20, 10, 10)], {})], *plain(3), change=change)
    dataset = check(read_training(folder))
    assert dataset.classes.names == ("Background", "leaf", "dirt")
    assert (draw_mask(dataset.photos[0]) == IGNORE_INDEX).sum() == 100
    given = Classes.from_dict({"classes": ["leaf"], "background": "rest", "ignore": ["dirt", "void"]})
    dataset = check(read_training(folder, classes=given))
    assert (draw_mask(dataset.photos[1]) == IGNORE_INDEX).sum() == 2400


def test_what_nothing_covers_is_ignored_where_no_class_is_background(write):
    given = Classes.from_dict({"classes": ["Paper", "Glass"], "background": None})
    mask = draw_mask(check(read_training(write(*plain(2, 5)), classes=given)).photos[1])
    assert (mask == IGNORE_INDEX).sum() == WIDTH * HEIGHT - 2400
    assert (mask == 1).sum() == 2400


def test_category_called_background_is_the_first_class(write):
    def change(content):
        content["categories"] = [{"id": 1, "name": "leaf"}, {"id": 2, "name": "_background_"}]

    dataset = check(read_training(write(*plain(1, 2), change=change)))
    assert dataset.classes.names == ("_background_", "leaf")
    assert [photo.annotations[0].class_index for photo in dataset.photos] == [1, 0]


@pytest.mark.parametrize(("names", "words"), [
    ([f"kind {index}" for index in range(200)], "200 categories are more than the 199 that can be trained"),
    (["background"], "there is no class to train"),
    (["a,b"], "a class name is a text of printable characters without commas, found 'a,b'"),
])  # fmt: skip
def test_categories_that_cannot_be_classes_are_told(write, names, words):
    def change(content):
        content["categories"] = [{"id": index, "name": name} for index, name in enumerate(names)]
        content["annotations"] = [{**content["annotations"][0], "category_id": index} for index in range(len(names))]

    with pytest.raises(DataError, match=words):
        read_training(write(*plain(1), change=change))


def test_no_categories_are_told_once(write):
    texts = [
        each.text
        for each in read_training(write(*plain(1, 2, 3), change=lambda content: content.update(categories=[]))).problems
    ]
    assert texts[0] == "train_all.json: lists no categories; list the classes with the ids that annotations use"
    assert not any("annotation " in text for text in texts)


@pytest.mark.parametrize("name", ["paper", "Papier", "PAPER ", "Plastic_bag", "Plasitc bag", "general-trash"])
def test_misspelled_class_is_suggested(write, name):
    folder = write(*plain(2), change=lambda content: content["categories"][1].update(name=name))
    (problem,) = read_training(folder).problems
    near = max(("Paper", "Plastic bag", "General trash"), key=lambda each: len(set(each.lower()) & set(name.lower())))
    assert f"unknown category {name!r}; did you mean {near!r}? 1 annotation has it" in problem.text


# Outlines


def test_flat_outline_is_read_as_one_polygon_and_noted(write):
    dataset = check(read_training(write([(1, [20, 20, 80, 20, 80, 60], {})])))
    assert [(note.kind, note.text) for note in dataset.notes] == [(FLAT, "annotation 1 of 0.png")]
    nested = check(read_training(write([(1, [[20, 20, 80, 20, 80, 60]], {})])))
    assert nested.notes == ()
    np.testing.assert_array_equal(draw_mask(dataset.photos[0]), draw_mask(nested.photos[0]))


POINTS = [[20, 20], [80, 20], [80, 60], [20, 60]]


@pytest.mark.parametrize("outline", [POINTS, [POINTS], [POINTS, [3, 3, 9, 3, 9, 9]], [*POINTS, [20.0, 20.0]]])
def test_outline_of_pairs_is_read_as_a_polygon_and_noted(write, outline):
    dataset = check(read_training(write([(1, outline, {}), (6, [box(100, 20, 40, 40)], {})])))
    assert [(note.kind, note.text) for note in dataset.notes] == [(PAIRS, "annotation 1 of 0.png")]
    assert pixels(dataset.root)[6] == 1600
    assert pixels(dataset.root)[1] >= 2400


@pytest.mark.parametrize("outline", [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5]])
def test_shares_of_the_photo_are_told_for_what_they_are(write, outline):
    (problem,) = read_training(write([GOOD, (4, [outline], {})], *plain(1))).problems
    assert "annotation 2 of 0.png has coordinates from 0 to 1, which look like shares of the photo" in problem.text
    assert "multiply them by its width and height" in problem.text


@pytest.mark.parametrize("spell", [float, str])
def test_counts_of_a_run_length_code_may_be_whole_floats_or_texts(write, spell):
    counts = [spell(count) for count in (2420, 40, HEIGHT * WIDTH - 2460)]
    folder = write([(6, {"size": [120.0, 160.0], "counts": counts}, {})])
    assert pixels(folder)[6] == 40


@pytest.mark.parametrize("count", [0.5, "many", None, True, -1])
def test_count_that_is_none_is_named(write, count):
    (problem, _) = read_training(write([(6, {"size": [HEIGHT, WIDTH], "counts": [count, 19200]}, {})])).problems
    assert f"its counts must be whole numbers from 0 on, found {count!r}" in problem.text


GOOD = (6, [box(20, 20, 120, 68)], {})


@pytest.mark.parametrize(("photo", "kind"), [
    ([(6, [box(20, 20, 120, 68), [80, 60]], {})], STRAY),
    ([(6, [box(20, 20, 120, 68), []], {})], STRAY),
    ([(6, [[80, 60, 90], box(20, 20, 120, 68), [80, 60, 90, 60]], {})], STRAY),
    ([(6, [box(20, 20, 120, 68), [80, 60] * 5], {})], STRAY),
    ([GOOD, (4, [], {})], EMPTY),
    ([GOOD, (4, None, {})], EMPTY),
    ([(4, [[]], {}), GOOD], EMPTY),
    ([GOOD, (4, [[3, 3, 9, 9]], {"bbox": [math.inf, math.inf, -math.inf, -math.inf]})], EMPTY),
    ([GOOD, (4, {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, {})], EMPTY),
    ([GOOD, (4, [[20, 20, 40, 20, 60, 20]], {})], EMPTY),
    ([GOOD, (4, [[80, 60], [81, 60], [82, 60]], {})], EMPTY),
    ([(6, [box(20, 20, 120, 68), [-6, 3, -4, 3, -4, 9]], {})], CLIPPED),
])  # fmt: skip
def test_stray_part_is_noted_and_the_photo_kept(write, photo, kind):
    folder = write(photo, *plain(1))
    assert kinds(read_training(folder)) == [kind]
    assert pixels(folder)[6] == 8160
    assert pixels(folder)[4] == 0


@pytest.mark.parametrize("by", [1, 3, 8, 12])
@pytest.mark.parametrize("edges", list(itertools.product((-1, 0, 1), repeat=2)))
def test_outline_that_hangs_over_an_edge_is_clipped(write, edges, by):
    x, y = (50 + edges[0] * (50 + by), 40 + edges[1] * (40 + by))
    outline = box(x, y, 60, 40)
    dataset = check(read_training(write([(6, [outline], {})])))
    assert kinds(dataset) == ([CLIPPED] if any(edges) and by > 1 else [])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[max(y, 0) : y + 40, max(x, 0) : x + 60] = 6
    np.testing.assert_array_equal(draw_mask(dataset.photos[0]), expected)


def test_clipping_cuts_any_outline_at_the_edge():
    """It covers what it does on a photo that reaches further, pixel by pixel."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        polygon = rng.uniform(-8, 40, (rng.integers(3, 8), 2))
        further = to_rle([(polygon + 10).ravel().tolist()], 52, 52)
        cut = read_outline([polygon.ravel().tolist()], 32, 32).rle
        expected = rle_masks.decode(further)[10:42, 10:42]
        drawn = np.zeros((32, 32)) if cut is None else rle_masks.decode(cut)
        np.testing.assert_array_equal(drawn, expected)


# Photos


@pytest.mark.parametrize("value", [None, 0, -1, "0", "missing"])
@pytest.mark.parametrize("keys", [("width",), ("height",), ("width", "height")])
def test_missing_size_is_that_of_the_photo(write, keys, value):
    def change(content):
        for key in keys:
            content["images"][0][key] = value
            if value == "missing":
                del content["images"][0][key]

    dataset = check(read_training(write(*plain(1, 2), change=change)))
    assert [(photo.width, photo.height) for photo in dataset.photos] == [(WIDTH, HEIGHT)] * 2
    assert kinds(dataset) == [SIZES]
    assert len(dataset.photos[0].annotations) == 1


@pytest.mark.parametrize("size", [160.0, "160"])
def test_size_as_float_or_text_is_a_size(write, size):
    folder = write(*plain(1), change=lambda content: content["images"][0].update(width=size))
    assert read_training(folder).problems == ()


@pytest.mark.parametrize("change", [
    lambda image: image.update(width="wide"),
    lambda image: image.update(width=100),
    lambda image: image.update(width=None, file_name="none.png"),
    lambda image: image.update(file_name="../0.png"),
    lambda image: image.update(file_name=3),
])  # fmt: skip
def test_one_fault_of_a_photo_is_one_problem(write, change):
    """Not another for each of its annotations, which are well."""
    folder = write(*plain(1, 2), change=lambda content: change(content["images"][0]))
    assert len(read_training(folder).problems) == 1
    assert left(folder) == ["1.png"]


def test_photo_annotated_on_its_side_is_told_apart_from_another_size(write):
    folder = write(*plain(1, 2))
    exif = Image.Exif()
    exif[274] = 6
    Image.open(folder / "0.png").save(folder / "0.png", exif=exif)
    (problem,) = read_training(folder).problems
    assert "0.png is 120x160, the json says 160x120: it was annotated as it is stored" in problem.text
    assert "Remove its EXIF orientation" in problem.text


@pytest.mark.parametrize(("missing", "says"), [("height", "width 160"), ("width", "height 120")])
def test_photo_annotated_on_its_side_is_told_by_the_side_that_is_given(write, missing, says):
    folder = write(*plain(1, 2), change=lambda content: content["images"][0].pop(missing))
    exif = Image.Exif()
    exif[274] = 6
    Image.open(folder / "0.png").save(folder / "0.png", exif=exif)
    (problem,) = read_training(folder).problems
    assert f"0.png is 120x160, the json says {says}: it was annotated as it is stored, on its side" in problem.text


@pytest.mark.parametrize("name", ["Screenshot 10.31\u202fAM.png", "a\u00a0b.png", "写真\u3000一.png"])
def test_spaces_of_any_width_are_part_of_a_name(write, name):
    folder = write(*plain(1), change=lambda content: content["images"][0].update(file_name=name))
    (folder / "0.png").rename(folder / name)
    assert left(folder) == [name]


@pytest.mark.parametrize(("stored", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_name_that_macos_decomposed_is_found(write, stored, listed):
    name = "한글/Müll.png"
    in_json, on_disk = unicodedata.normalize(listed, name), unicodedata.normalize(stored, name)
    folder = write(*plain(1), change=lambda content: content["images"][0].update(file_name=in_json))
    (folder / on_disk).parent.mkdir()
    (folder / "0.png").rename(folder / on_disk)
    assert left(folder) == [in_json]


def test_photo_of_several_pages_is_noted(write):
    folder = write(*plain(1), change=lambda content: content["images"][0].update(file_name="a.tif"))
    image = Image.open(folder / "0.png")
    image.save(folder / "a.tif", save_all=True, append_images=[image])
    dataset = check(read_training(folder))
    assert kinds(dataset) == [PAGES]


@pytest.mark.parametrize("name", ["1.png", "./1.png", ".//1.png"])
def test_photo_listed_twice_is_bad_in_every_spelling(write, name):
    """One entry may have the annotations and the other train as background."""
    folder = write(*plain(1, 2), [], change=lambda content: content["images"][2].update(file_name=name))
    with pytest.raises(DataError, match=r"1\.png is listed twice; keep one entry, with the annotations of both"):
        check(read_training(folder))
    assert left(folder) == ["0.png"]


# Files


@pytest.mark.parametrize(("content", "words"), [
    ('{"images": ["사진"]}'.encode("cp949"), "save it as UTF-8"),
    ('{"images": ["Müll"]}'.encode("latin-1"), "save it as UTF-8"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    (b"\xef\xbb\xbf<!DOCTYPE html>", "web page"),
    (b"PK\x03\x04\x00\x00", "zip archive; unpack it"),
    (b"\x1f\x8b\x08\x00", "compressed by gzip"),
    (bz2.compress(b"{}"), "compressed by bzip2; unpack it"),
    (lzma.compress(b"{}"), "compressed by xz; unpack it"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "7z archive; unpack it"),
    (b"train_all.json".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0"), "tar archive; unpack it"),
    *((pickle.dumps({}, protocol), "pickle of Python; export the annotations as COCO json") for protocol in (2, 5)),
    (b'<?xml version="1.0"?><annotation/>', "it is XML; export the annotations as COCO json"),
    (b"<annotation><folder>a</folder></annotation>", "it is XML; export"),
    (b'<?xml version="1.0"?><!DOCTYPE html><html xmlns="x"/>', "web page"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "picture of the kind JPEG; export the annotations as COCO json"),
    (b"", "is empty"),
    (b'{"images": []}\n{"images": []}', "more than one json value"),
])  # fmt: skip
def test_file_that_is_no_json_is_told_for_what_it_is(tmp_path, content, words):
    (tmp_path / "train_all.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"train_all.json: .*{words}") as raised:
        read_training(tmp_path)
    assert "cut off" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_json_cut_off_inside_a_letter_is_cut_off(tmp_path, encoding):
    (tmp_path / "train_all.json").write_bytes('{"images": ["사진'.encode(encoding)[:-1])
    with pytest.raises(DataError, match="was it cut off"):
        read_training(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_unicode_is_read(write, encoding):
    path = write(*plain(1)) / "train_all.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert read_training(path.parent).problems == ()


def test_pointer_in_place_of_a_photo_is_told(write):
    folder = write(*plain(1, 2))
    (folder / "0.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    (problem,) = read_training(folder).problems
    assert "0.png cannot be read (it is a Git LFS pointer, not the file itself; run `git lfs pull`)" in problem.text


def test_json_in_place_of_its_folder_is_told(write):
    folder = write(*plain(1))
    with pytest.raises(DataError, match=rf"train_all.json is a file; name the folder that holds it: --data {folder}"):
        read_training(folder / "train_all.json")


def test_notes_are_told_by_kind_with_their_number(write):
    photo = [(6, [20, 20, 140, 20, 140, 88], {}), (4, [], {})]
    dataset = check(read_training(write(photo, copy.deepcopy(photo))))
    lines = data_notes(dataset.notes, ())
    assert lines == [
        f"{FLAT}: 2, such as annotation 1 of 0.png",
        f"{EMPTY}: 2, such as annotation 2 of 0.png has the segmentation []; it must be a list of "
        "polygons or a run-length code",
    ]


def test_skip_bad_is_offered_only_where_it_helps(write):
    folder = write(*plain(1, 2), change=lambda content: content["annotations"][0].update(category_id=99))
    with pytest.raises(DataError, match="or pass --skip-bad to go on"):
        check(read_training(folder))
    folder = write(*plain(1), change=lambda content: content["annotations"][0].update(segmentation=["a"]))
    with pytest.raises(DataError, match=r"cannot mend what concerns all of them") as raised:
        check(read_training(folder), skip_bad=True)
    assert "or pass --skip-bad" not in str(raised.value)
