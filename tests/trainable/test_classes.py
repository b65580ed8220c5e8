"""Classes: a value that a file can hold, with rules that are told."""

import json
from pathlib import Path

import pytest

from trainable.classes import BUILT_IN, COMPETITION, IGNORE_INDEX, Classes, distinct_colours, sides

FILE = {
    "classes": [{"name": "Paper", "colour": "#010203", "from": ["Tissues"]}, "Metal", "left door", "right door"],
    "background": "Ground", "ignore": ["Unlabeled litter"], "mirror": [["left door", "right door"]],
}  # fmt: skip


def test_a_file_says_all_there_is_to_say(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE))
    classes = Classes.from_file(path)
    assert classes.names == ("Ground", "Paper", "Metal", "left door", "right door") and classes.background
    assert classes.colours[1] == (1, 2, 3) and classes.mirrored == (0, 1, 2, 4, 3) and classes.may_mirror
    asked = ("Tissues", "Paper", "Unlabeled litter", "Glass")
    assert [classes.index_of(name) for name in asked] == [1, 1, IGNORE_INDEX, None]
    assert list(classes.objects) == [1, 2, 3, 4]
    assert Classes.from_dict(json.loads(json.dumps(classes.to_dict()))) == classes


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.json")), ids=lambda path: path.stem)
def test_files_that_come_with_the_product_are_the_competitions_classes(path):
    classes = Classes.from_file(Path(path.stem))
    assert classes.names == COMPETITION.names and classes.colours == COMPETITION.colours and classes.background


def test_taco_becomes_the_competitions_classes():
    taco = Classes.from_file(Path("taco"))
    assert (
        taco.names[taco.index_of("Crisp packet")] == "Plastic bag" and taco.names[taco.index_of("Shoe")] == "Clothing"
    )
    assert len(taco.sources) + len(taco) - 1 >= 60


def test_data_without_background_have_objects_alone():
    classes = Classes.of_names(["water", "land"], background=False)
    assert list(classes.objects) == [0, 1] and classes.to_dict()["background"] is None
    assert Classes.from_dict(classes.to_dict()) == classes


@pytest.mark.parametrize(("names", "pairs", "alone"), [
    (["x", "left_door", "right_door"], ((1, 2),), []),
    (["Left Mirror", "right mirror", "wheel"], ((0, 1),), []),
    (["front_left", "hood"], (), ["front_left"]),
    (["copyright", "bright light", "leftover"], (), []),
])  # fmt: skip
def test_sides_are_known_by_their_names(names, pairs, alone):
    assert sides(names) == (pairs, alone)
    assert Classes.of_names(names, background=False).may_mirror == (not alone)


@pytest.mark.parametrize(("change", "said"), [
    ({"classes": ["one"], "background": None}, "2 to 200 classes"),
    ({"classes": ["a", "a", "b"]}, "differ"),
    ({"classes": [{"name": "a", "color": "#000000"}, "b"]}, "did you mean 'colour'"),
    ({"classes": [{"name": "a", "colour": "red"}, "b"]}, "#rrggbb"),
    ({"classes": [{"name": "a", "from": "x"}, "b"]}, "lists of names"),
    ({"classes": [{"name": "a", "from": ["x"]}, {"name": "b", "from": ["x"]}]}, "two classes"),
    ({"mirror": [["left door", "hood"]]}, "'hood'"),
    ({"mirror": [["left door", "left door"]]}, "pairs"),
    ({"mirror": True}, "pairs"),
    ({"backgrund": "x"}, "did you mean 'background'"),
    ({"classes": 3}, "a list 'classes'"),
    ({"classes": ["a,b", "c"]}, "without commas"),
])  # fmt: skip
def test_rules_are_told(tmp_path, change, said):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({**FILE, "mirror": [], **change}))
    with pytest.raises(ValueError, match=said):
        Classes.from_file(path)


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(ValueError, match="does not exist; name a json file, or one of competition, taco"):
        Classes.from_file(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json: "):
        Classes.from_file(tmp_path / "bad.json")


def test_colours_are_apart():
    for count in (2, 19, 60, 200):
        colours = distinct_colours(count)
        assert len(set(colours)) == count and colours[0] == (40, 40, 40)
