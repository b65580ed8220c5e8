from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainable.classes import Classes
from trainable.data_facts.advice import advice, alike, listed, run_command, share, summary
from trainable.data_facts.facts import DataFacts
from trainable.data_facts.objects import Objects
from trainable.geometry import Geometry
from trainable.labelled_photos import Dataset


def facts(photos=100, side=40.0, size=(480, 640), image_size=640, leaf=100, scenes=None, given=None, **classes):
    """Return facts of photos with an object of `leaf` on some of them and of `dirt` on each."""
    names = tuple(f"{number:03d}.jpg" for number in range(photos))
    known = Classes(("background", "leaf", "dirt"), **classes)
    dataset = Dataset(Path("/data/field"), (), (), "0" * 64, classes=known, format="masks", given=given or {})
    pixels = np.tile([size[0] * size[1] - 500, 300, 200], (photos, 1))
    pixels[leaf:, 1] = 0
    objects = Objects.of([(at, [(1, side**2), (2, 60.0**2)]) for at in range(photos)])
    own = np.tile(size, (photos, 1))
    geometry = Geometry.of([size], None, "native")
    return DataFacts(
        dataset, names, pixels, own, objects, geometry, image_size, scenes, hashes=np.zeros((photos, 8), "u8")
    )


def texts(found):
    return [each.text for each in advice(found)]


def test_summary_is_one_line():
    found = facts(given={"000.jpg": "val", "001.jpg": "train"}, leaf=100)
    told = "field: masks, 100 photos of 640x480, 2 classes and background, train/val given by the data"
    assert summary(found) == told
    assert summary(replace(found, class_pixels=found.class_pixels // 2)).count(", 50.0% ignored,") == 1


def test_data_with_nothing_to_mind_has_its_rarest_class_told():
    assert texts(facts()) == ["the rarest class is dirt: on 100 of 100 photos, 0.07% of the pixels"]
    assert texts(facts(leaf=60)) == ["the rarest class is leaf: on 60 of 100 photos, 0.06% of the pixels"]


def test_classes_on_few_photos_and_on_none():
    assert texts(facts(leaf=3))[0].startswith("a class is on fewer than 10 of 100 photos: leaf (3).")
    assert texts(facts(leaf=0))[0].startswith("no photo shows leaf: nothing can learn it;")
    assert "fewer than 10" not in texts(facts(photos=12, leaf=3))[0]  # each class is


def test_small_objects_ask_for_larger_photos_up_to_their_own_size():
    (tiny, _) = advice(facts(side=20, image_size=160))
    assert "in training at 128x160 px half of the objects of leaf (median 5.0 px) are smaller than 8x8 px" in tiny.text
    assert tiny.options == ("--image-size", "256") and "for 2.6 times the time" in tiny.text
    assert advice(facts(side=6, image_size=160))[0].options == ("--image-size", "640")
    crops = advice(facts(side=6, size=(1500, 2000), image_size=512))[0]
    assert crops.options == ("--image-size", "2016", "--tile-size", "512") and "in crops" in crops.text
    none = advice(facts(side=6))[0]
    assert none.options == () and "photos of more pixels would help" in none.text


def test_enlarged_photos_and_padding():
    assert any("enlarged 2.0 times" in text and "--image-size 640" in text for text in texts(facts(image_size=1280)))
    found = facts(photos=40)
    found.photo_sizes[::2] = (640, 160)
    wide = replace(found, geometry=Geometry.of([(480, 640), (640, 160)], None, "native"))
    assert any("is padding" in text for text in texts(wide))


def test_photos_that_all_look_alike():
    scenes = np.array([0] * 40 + list(range(1, 61)))
    assert alike(facts(), 25) is None
    assert advice(facts(scenes=scenes))[0].options == ("--folds", "2")
    given = {f"{number:03d}.jpg": "val" if number < 10 else "train" for number in range(100)}
    first, second, *_ = advice(facts(scenes=scenes, given=given))
    assert first.options == ("--folds", "given") and "40 of 100 photos look alike" in first.text
    assert second.text.startswith("1 scene lies on both sides of the data's own split: 10 of the 10 photos")


def test_one_shared_photo_of_many_is_told_late():
    scenes = np.arange(100)
    scenes[-1] = 0
    given = {f"{number:03d}.jpg": "val" if number < 60 else "train" for number in range(100)}
    assert [each.warning for each in advice(facts(scenes=scenes, given=given))] == [False, False]


def test_the_command_has_what_was_advised_once(monkeypatch):
    monkeypatch.delenv("TRASHSWEEP_COMMAND", raising=False)
    small = facts(side=20, image_size=160)
    begin = "python search/run.py --space"
    assert run_command(small, gpu=True) == f"{begin} joint --data /data/field --image-size 256"
    words = ["--image-size", "160", "--skip-bad"]
    told = run_command(small, gpu=False, given=words)
    network = "--encoder mobilenet_v2 --encoder-weights imagenet"
    assert told == f"{begin} losses --data /data/field --image-size 160 --skip-bad {network}"


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0%"), (0.5, "50%"), (0.0998, "10%"), (0.013, "1.3%"), (0.00068, "0.07%"), (1e-5, "0.001%")]
)
def test_shares(value, told):
    assert share(value) == told


def test_many_names_are_cut():
    assert listed(["a"]) == "a" and listed(list("abcde")) == "a, b, c, d and e"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"
