import json

import pytest

from trainable.builders import build
from trainable.config import TrialConfig


def test_survives_json():
    config = TrialConfig(epochs=5, loss={"name": "focal", "gamma": 1.5})
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epoch": 3}, r"unknown config key 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"image_size": 96.0}, "image_size must be a whole number of at least 32, found 96.0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, found 'gpu'"),
        ({"precision": "half"}, "precision must be one of"),
        ({"device": "cpu", "precision": "fp16"}, "fp16 needs a GPU"),
        ({"loss": "focal"}, "loss must be like"),
        ({"optimizer": {"name": "adamw", "lr": 0}}, "lr must be a number above 0, found 0"),
        ({"optimizer": {"name": "adamw", "lr": float("nan")}}, "found nan"),
        ({"memory_format": "nhwc"}, "memory_format must be one of auto, channels_last, contiguous, found 'nhwc'"),
        ({"accumulation": 9, "batch_size": 8}, "accumulation must be at most batch_size 8, found 9"),
        ({"encoder_lr_factor": 0}, "encoder_lr_factor must be a number above 0 and at most 1, found 0"),
        ({"clip_norm": -1}, "clip_norm must be a number at least 0, found -1"),
        ({"ema_decay": 1.0}, "ema_decay must be a number 0 to below 1, found 1.0"),
        ({"freeze_share": 1.0}, "freeze_share must be a number 0 to below 1, a share of the budget, found 1.0"),
        ({"compile": "yes"}, "compile must be true or false, found 'yes'"),
        ({"operations": {"name": "blur"}}, "operations must be a list"),
        ({"mixing": ["mosaic"]}, "each of mixing must be like"),
        ({"oversampling": "paste"}, "oversampling must be like"),
    ],
)
def test_bad_values_are_refused_with_rule_and_value(change, text):
    with pytest.raises(ValueError, match=text):
        TrialConfig.from_dict(change)


def test_choice_gets_its_parameters_and_what_is_given():
    builders = {"scale": lambda data, factor=2: [factor * each for each in data]}
    assert build("part", {"name": "scale", "factor": 3}, builders, data=[1, 2]) == [3, 6]
    with pytest.raises(ValueError, match=r"part 'scale' has no parameter 'power'; it has factor"):
        build("part", {"name": "scale", "power": 3}, builders, data=[1])
    with pytest.raises(ValueError, match="unknown part 'scales'; did you mean 'scale'"):
        build("part", {"name": "scales"}, builders, data=[1])
