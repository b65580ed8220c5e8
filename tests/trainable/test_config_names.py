"""What is read from sources is what the modules have once they are imported."""

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
import segmentation_models_pytorch as smp
import timm

from tests.conftest import ROOT
from trainable.config import TrialConfig
from trainable.config_names import (
    GIVEN,
    OF_CONFIG,
    TABLES,
    architectures,
    check_names,
    decoder_parameters,
    encoders,
    part_names,
    part_parameters,
)
from trainable.engine.config_defaults import PARTS


def test_names_are_those_of_the_imported_libraries():
    assert set(architectures()) == set(smp.MODEL_ARCHITECTURES_MAPPING)
    own = {name for name in encoders() if not name.startswith("tu-")}
    assert own == set(smp.encoders.get_encoder_names())
    assert {name.removeprefix("tu-") for name in encoders() if name not in own} == set(timm.list_models())
    assert {name.split(".")[0] for name in timm.list_pretrained()} <= set(timm.list_models())


def test_names_of_parts_are_those_of_our_tables():
    assert {key: set(part_names(key)) for key in TABLES} == {key: set(builders) for key, builders in PARTS.items()}


def test_parameters_are_those_of_the_builders_and_architectures():
    for key, builders in PARTS.items():
        for name, builder in builders.items():
            settable = [each for each in inspect.signature(builder).parameters if each not in GIVEN]
            assert list(part_parameters(key, name)) == settable
    for architecture, made in smp.MODEL_ARCHITECTURES_MAPPING.items():
        named = {
            each.name for each in inspect.signature(made.__init__).parameters.values() if each.kind != each.VAR_KEYWORD
        }
        assert named - {"self", *OF_CONFIG} <= set(decoder_parameters(architecture))
    assert "decoder_use_batchnorm" in decoder_parameters("unet")  # of older versions, in its kwargs


@pytest.mark.parametrize(("change", "said"), [
    ({"architecture": "unetpluplus"}, "unknown architecture 'unetpluplus'; did you mean 'unetplusplus'"),
    ({"encoder": "resnet181"}, "unknown encoder 'resnet181'; did you mean 'resnet18"),
    ({"encoder": "tu-resnet181.a1_in1k"}, "unknown encoder 'tu-resnet181.a1_in1k'; did you mean"),
    ({"loss": {"name": "dicee"}}, "unknown loss 'dicee'; did you mean 'dice'"),
    ({"optimizer": {"name": "adamw2"}}, "unknown optimizer 'adamw2'; did you mean 'adamw'"),
    ({"operations": [{"name": "blurr"}]}, "unknown operations 'blurr'; did you mean 'blur'"),
    ({"operations": [{"name": "blur", "size": 3}]}, "operations 'blur' has no parameter 'size'; it has p"),
    ({"loss": {"name": "focal", "alpha": 1}}, "loss 'focal' has no parameter 'alpha'; it has gamma"),
    ({"loss": {"name": "dice", "gamma": 1}}, "loss 'dice' has no parameter 'gamma'; it has none"),
    ({"loss": {"name": "focal", "gamma": -3}}, "loss 'focal': gamma must be a number at least 0, found -3"),
    ({"decoder": {"decoder_chanels": [8]}}, "unetplusplus has no argument 'decoder_chanels'; did you mean"),
    ({"decoder": {"classes": 3}, "encoder": "tu-resnet18"}, "unetplusplus has no argument 'classes'; "),
])  # fmt: skip
def test_what_is_unknown_or_out_of_range_is_told_with_the_nearest(change, said):
    with pytest.raises(ValueError, match=said):
        check_names(replace(TrialConfig(), **change))


def test_names_of_weights_pass_and_nothing_heavy_is_imported():
    check_names(TrialConfig(encoder="tu-tf_efficientnet_b0.ns_jft_in1k", operations=[{"name": "blur"}]))
    check_names(TrialConfig(encoder="tu-resnet18", decoder={"drop_path_rate": 0.1, "decoder_channels": [8] * 5}))
    text = "import sys, trainable.config_names as n; n.encoders(); n.part_names('loss'); exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT).returncode == 0
