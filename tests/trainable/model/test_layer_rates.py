"""Layer-wise decay of the encoder's rates."""

import pytest

from trainable.config import TrialConfig
from trainable.model.layer_rates import layer_factors
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_empty, build_model

STAGED = ("tu-swin_tiny_patch4_window7_224", "tu-convnext_atto", "mit_b0")


def factors_of(encoder: str, decay: float = 0.5) -> dict[str, float]:
    network = build_empty(TrialConfig(architecture="upernet", encoder=encoder, image_size=224))
    return layer_factors([name for name, _ in network.encoder.named_parameters()], decay)


@pytest.mark.parametrize("encoder", STAGED)
def test_stages_are_layers(encoder):
    factors = factors_of(encoder)
    stages = [0.125, 0.25, 0.5, 1]
    assert sorted(set(factors.values())) == (stages if "mit" in encoder else [0.0625, *stages])  # and a stem
    assert list(factors.values())[-1] == 1


def test_the_blocks_of_a_plain_transformer_are_layers():
    factors = factors_of("tu-vit_tiny_patch16_224")
    assert factors["model.blocks.11.mlp.fc2.bias"] == factors["model.norm.weight"] == 1
    assert factors["model.blocks.0.norm1.weight"] == 0.5**11
    assert {factors[f"model.{name}"] for name in ("pos_embed", "cls_token", "patch_embed.proj.weight")} == {0.5**12}


def test_norms_and_patches_of_a_stage_go_with_it():
    factors = factors_of("mit_b0")
    assert all(factors[f"norm{stage}.weight"] == factors[f"patch_embed{stage}.proj.weight"] for stage in (1, 2, 3, 4))


def test_without_decay_all_rates_are_the_same():
    assert set(factors_of("resnet18", 1.0).values()) == {1.0}


def test_groups_have_the_rates_of_their_layers():
    model = build_model(TrialConfig(architecture="upernet", encoder="tu-convnext_atto", image_size=64))
    optimizer = build_optimizer({"name": "adamw", "lr": 1e-3}, model, 0.1, 0.5)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    by_name = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert len(rates) == len(by_name)
    assert by_name["network.segmentation_head.0.weight"] == 1e-3
    assert by_name["network.encoder.model.stages_3.blocks.0.conv_dw.weight"] == pytest.approx(1e-4)
    assert by_name["network.encoder.model.stem_0.weight"] == pytest.approx(1e-4 / 16)
    plain = build_optimizer({"name": "adamw", "lr": 1e-3}, model, 0.1)
    assert len(plain.param_groups) == 4  # as before there was decay by layers: states of earlier runs fit
