"""What is read from sources is what the modules have once they are imported."""

import subprocess
import sys
from dataclasses import replace

import pytest
import segmentation_models_pytorch as smp
import timm

from tests.conftest import ROOT
from trainable.config import TrialConfig
from trainable.defaults import PARTS
from trainable.names import TABLES, architectures, check_names, encoders, part_names


def test_names_are_those_of_the_imported_libraries():
    assert set(architectures()) == set(smp.MODEL_ARCHITECTURES_MAPPING)
    own = {name for name in encoders() if not name.startswith("tu-")}
    assert own == set(smp.encoders.get_encoder_names())
    assert {name.removeprefix("tu-") for name in encoders() if name not in own} == set(timm.list_models())
    assert {name.split(".")[0] for name in timm.list_pretrained()} <= set(timm.list_models())


def test_names_of_parts_are_those_of_our_tables():
    assert {key: set(part_names(key)) for key in TABLES} == {key: set(builders) for key, builders in PARTS.items()}


@pytest.mark.parametrize(("change", "said"), [
    ({"architecture": "unetpluplus"}, "unknown architecture 'unetpluplus'; did you mean 'unetplusplus'"),
    ({"encoder": "resnet181"}, "unknown encoder 'resnet181'; did you mean 'resnet18"),
    ({"encoder": "tu-resnet181.a1_in1k"}, "unknown encoder 'tu-resnet181.a1_in1k'; did you mean"),
    ({"loss": {"name": "dicee"}}, "unknown loss 'dicee'; did you mean 'dice'"),
    ({"optimizer": {"name": "adamw2"}}, "unknown optimizer 'adamw2'; did you mean 'adamw'"),
    ({"operations": [{"name": "blurr"}]}, "unknown operations 'blurr'; did you mean 'blur'"),
])  # fmt: skip
def test_unknown_name_is_told_with_the_nearest(change, said):
    with pytest.raises(ValueError, match=said):
        check_names(replace(TrialConfig(), **change))


def test_names_of_weights_pass_and_nothing_heavy_is_imported():
    check_names(TrialConfig(encoder="tu-tf_efficientnet_b0.ns_jft_in1k", operations=[{"name": "blur"}]))
    text = "import sys, trainable.names as n; n.encoders(); n.part_names('loss'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT).returncode == 0
