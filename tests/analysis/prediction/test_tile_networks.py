"""Networks that have learnt from crops predict by windows of them, as their validation does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.prediction.networks import Network
from analysis.prediction.views import PLAIN, VIEWS
from tests.trainable.test_any_frames import data_of, masks_folder, trained  # noqa: F401  # a fixture among them
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import Maps, scored


@pytest.fixture
def network_and_data(masks_folder, tmp_path, tiny_config):  # noqa: F811
    config = replace(
        tiny_config, image_size=64, aspect=0.75, tile_size=32, num_classes=3, epochs=2,
        optimizer={"name": "adamw", "lr": 1e-2},
    )  # fmt: skip
    data = data_of(masks_folder, tmp_path, config, given=True)
    trained(config, data, tmp_path / "0")
    return Network(TrialFolder(tmp_path / "0"), "cpu", data.cache.classes, data.cache.geometry), data


def test_a_prediction_is_that_of_the_validation(network_and_data):
    network, data = network_and_data
    photos, sizes = data.cache.images[data.val], data.cache.photo_sizes[data.val]
    found = network.probabilities(photos, VIEWS[PLAIN], sizes)
    maps = Maps.open(network.folder.out_of_fold)
    kept = np.stack(list(maps.read([data.cache.file_names[position] for position in data.val])))
    torch.testing.assert_close(found, scored(torch.from_numpy(kept), sizes, data.cache.geometry) / 255)


@pytest.mark.parametrize("name", [name for name in VIEWS if name != PLAIN])
def test_views_are_turned_back_window_by_window(network_and_data, name):
    network, data = network_and_data
    photos, sizes = data.cache.images[data.val[:2]], data.cache.photo_sizes[data.val[:2]]
    plain, viewed = (network.probabilities(photos, VIEWS[view], sizes) for view in (PLAIN, name))
    assert plain.shape == viewed.shape and torch.isfinite(viewed).all()
    if VIEWS[name].size(64) == 64:
        assert (plain.argmax(1) == viewed.argmax(1)).float().mean() > 0.5
