"""Which views are taken, on planted maps: views that help everywhere, nowhere, or only where they were chosen."""

import numpy as np
import pytest

from analysis.ensembling.out_of_fold_maps import write_all
from analysis.ensembling.view_selection import choose_views
from analysis.pool.labelled_photos import Labelled
from analysis.prediction.views import PLAIN
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.dataset.cache import Cache

C, PHOTOS, PARTS, SIDE = len(CLASSES), 12, 3, 256


@pytest.fixture
def planted(photos, tmp_path):
    """Return maps of views, and their photos, given by the share of pixels that a view has right in each part."""
    names = tuple(f"{index}.jpg" for index in range(PHOTOS))
    part = np.arange(PHOTOS) % PARTS
    rng = np.random.default_rng(0)
    truth = rng.integers(0, C, (PHOTOS, 16, 16)).astype(np.uint8).repeat(16, 1).repeat(16, 2)
    none = np.zeros((PHOTOS, 0), np.int64)
    cache = Cache(tmp_path, names, none, truth, truth, none, none, none, none)
    labelled = Labelled(read_training(photos), tmp_path, False, names, part, part, {SIDE: cache})
    luck = rng.random(truth.shape)  # of each pixel the same in all views

    def make(**views):
        found = {}
        for name, (right, sure) in views.items():
            said = np.where(luck < np.asarray(right)[part][:, None, None], truth, (truth + 1) % C)
            maps = (
                (position, np.where(np.arange(C)[:, None, None] == each, sure, 0).astype(np.uint8))
                for position, each in enumerate(said)
            )
            found[PLAIN if name == "plain" else name] = write_all(tmp_path / f"{name}.parquet", labelled, maps)
        return found

    return labelled, make


def test_view_that_gains_on_photos_left_out_is_taken(planted):
    labelled, make = planted
    maps = make(plain=([0.5] * 3, 100), flipped=([0.8] * 3, 120), worse=([0.3] * 3, 60))
    found = choose_views(maps, labelled, {PLAIN: 1.0, "flipped": 1.0, "worse": 1.0})
    assert found.views == (PLAIN, "flipped") and found.cost == 2
    assert set(found.nested.values()) == {(PLAIN, "flipped")}
    assert found.gain.low > 0.1
    assert "at least the 0.0010 that 2.0 times the passes must gain" in found.reason


def test_what_views_gain_where_they_were_chosen_does_not_count(planted):
    labelled, make = planted
    own = [[0.9 if part == each else 0.5 for part in range(3)] for each in range(3)]
    maps = make(plain=([0.5] * 3, 100), a=(own[0], 120), b=(own[1], 120), c=(own[2], 120))
    found = choose_views(maps, labelled, dict.fromkeys(maps, 1.0))
    assert found.views == (PLAIN,) and found.cost == 1
    assert set(found.nested.values()) == {(PLAIN,)}
    assert abs(found.gain.value) < 1e-6
    assert found.reason.startswith("left out: c: gain +0.000 (+0.000 to +0.000) on photos they were not chosen on")
    assert found.reason.endswith("less than the 0.0010 that 2.0 times the passes must gain")


@pytest.mark.parametrize("least_gain", [0.005, 0.03])
def test_gain_on_photos_left_out_must_be_worth_the_passes(planted, least_gain):
    """Each view gains a little everywhere, and much more in one part: where that part is left out another is chosen."""
    labelled, make = planted
    own = [[0.9 if part == each else 0.55 for part in range(3)] for each in range(3)]
    maps = make(plain=([0.5] * 3, 100), a=(own[0], 120), b=(own[1], 120), c=(own[2], 120))
    found = choose_views(maps, labelled, {PLAIN: 1.0, "a": 4.2, "b": 4.2, "c": 4.2}, least_gain)
    assert 0.03 < found.gain.value < 0.12
    assert (len(found.views) > 1) == (found.gain.value >= least_gain * 4.2)
    assert (len(found.views) > 1) == (least_gain == 0.005)
    assert f"{'at least' if least_gain == 0.005 else 'less than'} the {least_gain * 4.2:.4f} that 5.2" in found.reason


def test_of_several_views_those_that_are_worth_it_are_taken(planted):
    labelled, make = planted
    maps = make(plain=([0.5] * 3, 100), good=([0.8] * 3, 120), lucky=([0.8, 0.8, 0.99], 200))
    found = choose_views(maps, labelled, {PLAIN: 1.0, "good": 1.0, "lucky": 1.0}, 0.05)
    assert found.gain.value >= 0.05 * (found.cost - 1)


def test_nothing_to_gain_says_so(planted):
    labelled, make = planted
    maps = make(plain=([0.5] * 3, 100), same=([0.5] * 3, 100))
    found = choose_views(maps, labelled, {PLAIN: 1.0, "same": 1.0})
    assert (found.views, found.reason) == ((PLAIN,), "no view gains 0.001 for each pass it adds")
