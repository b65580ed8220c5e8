"""The part of a data set that benchmarks set aside: it stays hidden, and is scored where it is."""

import json

import numpy as np
import pytest

import benchmarks.parts.hidden as hidden_part
from tests.conftest import write_photos
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.images.resampling import SCORE_SIZE


@pytest.fixture
def photos(tmp_path, monkeypatch):
    write_photos(tmp_path / "set", count=20)
    monkeypatch.setattr(hidden_part, "SIZE", 32)
    return hidden_part.set_aside(tmp_path / "set", tmp_path / "out", tmp_path)


def test_arms_see_no_answer_and_all_other_photos(photos):
    own, hidden = (json.loads((photos.own / name).read_text()) for name in ("train_all.json", "test.json"))
    names = [{each["file_name"] for each in part["images"]} for part in (own, hidden)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 20 and 3 <= len(names[1]) <= 7
    assert hidden["annotations"] == []
    assert {each["image_id"] for each in own["annotations"]} == {each["id"] for each in own["images"]}
    assert {photo.file_name for photo in read_training(photos.own).photos} == names[0]
    assert hidden_part.set_aside(photos.whole, photos.out, photos.weights) == photos


def test_a_submission_is_scored_on_the_photos_it_is_of(photos, tmp_path):
    cache, test = photos.test(32)
    assert {cache.file_names[place] for place in test} == {
        each["file_name"] for each in json.loads((photos.own / "test.json").read_text())["images"]
    }
    lines = ["image_id,PredictionString"]
    for place in reversed(test):  # in another order
        lines.append(f"{cache.file_names[place]},{' '.join(map(str, cache.score_masks[place].ravel()))}")
    (tmp_path / "right.csv").write_text("\n".join(lines))
    counts = hidden_part.submission_counts(photos, tmp_path / "right.csv")
    assert counts.shape == (len(test), len(CLASSES), len(CLASSES))
    assert counts.sum() == len(test) * SCORE_SIZE**2 and np.trace(counts.sum(0)) == counts.sum()
