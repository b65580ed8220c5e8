import numpy as np
import pytest

from analysis.pool.labelled_photos import PARTS, scene_parts


def test_parts_have_as_many_photos_each_and_whole_scenes():
    scenes = np.r_[np.zeros(12, int), np.arange(1, 49)]
    photos = np.bincount(scene_parts(scenes)[scenes])
    assert photos.tolist() == [12] * PARTS


def test_single_photos_are_dealt_as_they_always_were():
    assert (scene_parts(np.arange(33)) == np.random.default_rng(0).permutation(33) % PARTS).all()


def test_few_scenes_make_as_many_parts_and_one_is_told_what_to_do():
    assert sorted(scene_parts(np.array([0, 0, 1, 2])).tolist()) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"the 4 photos .* are of one scene: .*--confirm NAME"):
        scene_parts(np.zeros(4, int))
