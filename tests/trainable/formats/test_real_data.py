"""Real data of each kind, where it is at hand: counts as its maker counted them."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from tests.conftest import SHARED
from trainable.classes import COMPETITION, IGNORE_INDEX
from trainable.formats.reading import find_test_photos, read_data
from trainable.labelled_photos import check, draw_mask


@pytest.fixture
def real(request):
    path = SHARED / "data" / request.param
    if not path.exists():
        pytest.skip(f"{request.param} is not at {path}; set TRASH_SHARED")
    return path


@pytest.mark.parametrize("real", ["camvid", "coffee_leaf", "aerial", "car_parts"], indirect=True)
def test_photos_of_each_class_are_as_many_as_its_readme_says(real):
    stats = json.loads((real / "stats.json").read_text())
    dataset = check(read_data(real))
    found = {split: np.zeros(256, int) for split in ("train", "val")}
    pixels = np.zeros(256, int)
    for photo in dataset.photos:
        counts = np.bincount(draw_mask(photo).ravel(), minlength=256)
        found[dataset.given[photo.file_name]] += counts > 0
        pixels += counts
    assert Counter(dataset.given.values()) == {split: stats["photos"][split] for split in ("train", "val")}
    assert len(find_test_photos(real)) == stats["photos"]["test"]
    labelled = pixels[:IGNORE_INDEX].sum()
    assert abs(pixels[IGNORE_INDEX] / pixels.sum() - stats["ignored_share"]) < 0.005  # which is of the test photos too
    names = {name.casefold(): index for index, name in enumerate(dataset.classes.names)}
    known = 0
    for each in stats["classes"]:
        index = names.get(re.sub(r" \(category \d+\)|[()]", "", each["name"]))
        if index is None:
            assert each["pixel_share"] == 0  # a category that nothing uses
            continue
        known += 1
        assert {split: found[split][index] for split in found} == {split: each["photos"][split] for split in found}
        assert abs(pixels[index] / labelled - each["pixel_share"]) < 0.02
    assert known == len(names)


@pytest.mark.parametrize("real", ["car_parts"], indirect=True)
def test_left_and_right_are_each_others_in_a_mirror(real):
    dataset = read_data(real)
    names = dataset.classes.names
    pairs = {(names[a], names[b]) for a, b in dataset.classes.mirror}
    assert pairs == {
        ("back_left_door", "back_right_door"), ("back_left_light", "back_right_light"),
        ("front_left_door", "front_right_door"), ("front_left_light", "front_right_light"),
        ("left_mirror", "right_mirror"),
    }  # fmt: skip
    assert [(note.kind, note.text) for note in dataset.notes] == [
        ("categories that no annotation uses, left out", "'_background_'")
    ]


def test_trash_is_as_its_readme_counts_it(trash):
    dataset = check(read_data(trash))
    assert dataset.classes == COMPETITION
    assert Counter(dataset.given.values()) == {"train": 272, "val": 67}
    assert len(find_test_photos(trash)) == 90
    pixels = sum(
        np.bincount(draw_mask(photo).ravel(), minlength=11)
        for photo in dataset.photos
        if dataset.given[photo.file_name] == "val"
    )
    assert pixels.tolist() == [
        15192077, 176860, 400543, 9715, 382426, 156697, 391132, 2734, 790508, 0, 60956,
    ]  # fmt: skip
