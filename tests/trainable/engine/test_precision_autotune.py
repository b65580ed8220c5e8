from dataclasses import replace

import pytest
import torch

from trainable.engine import precision_autotune as speed
from trainable.engine.precision_autotune import measure, settle
from trainable.storage.atomic_write import read_json


@pytest.fixture
def auto(tiny_config):
    return replace(tiny_config, precision="auto", memory_format="auto", device="cpu")


@pytest.fixture
def ways(monkeypatch):
    monkeypatch.setattr(speed, "_ways", lambda: [("fp32", "contiguous"), ("bf16", "channels_last")])


def test_fastest_way_is_taken_measured_once_and_kept(auto, tmp_path, monkeypatch, ways):
    calls = []

    def measured(config, asked):
        calls.append(asked)
        return dict(zip(asked, (2.0, 1.0), strict=True))

    monkeypatch.setattr(speed, "measure", measured)
    for _ in range(2):
        config = settle(auto, tmp_path)
        assert (config.device, config.precision, config.memory_format) == ("cpu", "bf16", "channels_last")
    assert len(calls) == 1
    stored = read_json(next(tmp_path.glob("speed-*.json")))
    assert stored["found"]["bf16 channels_last"]["ratio"] == 2.0
    settle(replace(auto, image_size=64), tmp_path)
    assert len(calls) == 2  # another model is measured on its own


def test_a_gain_that_is_noise_is_left(auto, tmp_path, monkeypatch, ways):
    monkeypatch.setattr(speed, "measure", lambda config, asked: dict(zip(asked, (1.02, 1.0), strict=True)))
    assert settle(auto, tmp_path).precision == "fp32"


def test_what_the_config_names_is_not_measured(auto, tmp_path, monkeypatch, ways):
    monkeypatch.setattr(speed, "measure", lambda *_: pytest.fail("measured"))
    fixed = settle(replace(auto, precision="bf16"), tmp_path)
    assert (fixed.precision, fixed.memory_format) == ("bf16", "channels_last")
    assert settle(replace(auto, precision="fp32", memory_format="contiguous"), tmp_path).precision == "fp32"


def test_measurement_gives_seconds_for_every_way(auto):
    ways = [("fp32", "contiguous"), ("fp32", "channels_last")]
    seconds = measure(auto, ways, rounds=1)
    assert list(seconds) == ways
    assert all(each > 0 for each in seconds.values())


@pytest.mark.slow
def test_encoder_of_one_size_is_measured_at_that_size(auto):
    config = replace(auto, encoder="tu-maxvit_tiny_tf_384", image_size=384)
    assert len(measure(config, [("fp32", "channels_last")], rounds=1)) == 1


def test_gpu_that_is_not_there_is_told(auto, tmp_path):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="this process sees no GPU"):
            settle(replace(auto, device="cuda"), tmp_path)
