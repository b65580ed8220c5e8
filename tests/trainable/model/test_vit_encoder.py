"""Plain vision transformers as encoders: any size, any patch, every decoder, and positions for every size."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from trainable.config import TrialConfig
from trainable.encoder_weights import save_encoder
from trainable.model.networks import create_network, fits, fitted, size_option
from trainable.model.segmenter import build_model, check_model
from trainable.model.vit_encoder import GridEncoder, PyramidEncoder

VIT = "tu-vit_tiny_patch16_224"  # learnt positions, the size may vary
EVA = "tu-eva02_tiny_patch14_224"  # patches of 14 pixels
BEIT = "tu-beit_base_patch16_224"  # tables of a fixed size
SWIN = "tu-swin_tiny_patch4_window7_224"


def config_of(encoder: str, architecture: str = "upernet", size: int = 64, **more) -> TrialConfig:
    return TrialConfig(encoder=encoder, architecture=architecture, image_size=size, **more)


@pytest.mark.parametrize("architecture", ["upernet", "fpn", "segformer", "unetplusplus", "dpt"])
@pytest.mark.parametrize("encoder", [VIT, EVA, SWIN])
def test_transformers_train_under_every_decoder_at_sizes_that_are_not_their_own(encoder, architecture):
    torch.manual_seed(0)
    model = build_model(config_of(encoder, architecture, 96)).train()
    logits = model(torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8))
    assert logits.shape == (2, 11, 96, 96)
    logits.square().mean().backward()
    first = next(parameter for parameter in model.network.encoder.parameters() if parameter.ndim == 4)
    assert first.grad is not None and first.grad.abs().sum() > 0  # the gradient reaches the patches


def test_a_grid_of_another_patch_lies_where_the_photo_does():
    """A bright square shows in the feature map where it is in the photo, to less than a pixel of the map."""
    encoder = GridEncoder("eva02_tiny_patch14_224", pretrained=False, dynamic_img_size=True).eval()
    encoder.model.forward_intermediates = lambda photos, indices, **options: [  # type: ignore[method-assign]
        (nn.functional.avg_pool2d(photos, 14), photos.new_zeros(1, 1, 3)) for _ in indices
    ]
    photos = torch.zeros(1, 3, 512, 512)
    photos[..., 320:400, 128:208] = 1
    (first, *_), _ = encoder(photos)
    assert first.shape == (1, 3, 32, 32)
    shares = first[0, 0] / first[0, 0].sum()
    row, column = ((shares.sum(axis) * (torch.arange(32) + 0.5) * 16).sum() for axis in (1, 0))
    assert row.item() == pytest.approx(360, abs=2) and column.item() == pytest.approx(168, abs=2)


def test_the_pyramid_has_the_strides_of_a_convolutional_encoder():
    encoder = PyramidEncoder("vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True, num_classes=0)
    maps = encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(level.shape) for level in maps] == [
        (1, 3, 64, 96), (1, 0, 32, 48), (1, 192, 16, 24), (1, 192, 8, 12), (1, 192, 4, 6), (1, 192, 2, 3),
    ]  # fmt: skip
    assert encoder.out_channels == [3, 0, 192, 192, 192, 192] and encoder.output_stride == 32


def test_a_vision_transformer_cannot_be_dilated():
    with pytest.raises(ValueError, match="no output stride of 16, use 32"):
        check_model(config_of(VIT, "deeplabv3plus"))


def test_how_a_size_is_given_is_found_by_asking_timm():
    assert size_option(VIT) == size_option(EVA) == size_option(SWIN) == "dynamic_img_size"
    assert size_option(BEIT) == "img_size"
    assert size_option("tu-convnext_atto") is None and size_option("mit_b0") is None


@pytest.mark.parametrize("encoder", [VIT, BEIT])
def test_weights_from_a_folder_suit_every_size_and_decoder(encoder, tmp_path):
    torch.manual_seed(1)
    save_encoder(encoder, tmp_path, weights=None)
    for architecture, size, aspect in (("dpt", 224, 0.0), ("upernet", 96, 0.0), ("dpt", 96, 0.6)):
        config = replace(config_of(encoder, architecture, size, encoder_weights=str(tmp_path)), aspect=aspect)
        check_model(config)
        model = build_model(config)
        own = {name: tensor for name, tensor in model.network.encoder.state_dict().items() if tensor.ndim == 4}
        again = build_model(config).network.encoder.state_dict()
        assert all(torch.equal(tensor, again[name]) for name, tensor in own.items())


def test_tables_keep_their_meaning_at_another_size():
    """The bias of two patches that lie next to each other stays about the same, and other weights stay as they are."""
    native, small = (create_network(config_of(BEIT, size=size)).encoder for size in (224, 96))
    weights = native.state_dict()
    name = next(name for name in weights if name.endswith("relative_position_bias_table"))
    steps = torch.arange(27).float()
    distance = (steps[:, None] - 13).abs() + (steps[None] - 13).abs()
    weights[name][:-3] = distance.flatten()[:, None]
    resampled = fitted(weights, small)
    assert resampled[name].shape == small.state_dict()[name].shape
    table = resampled[name][:-3, 0].view(11, 11)
    assert torch.allclose(table, table.flip(0), atol=0.2) and table.argmin() == 60
    torch.testing.assert_close(resampled[name][-3:], weights[name][-3:])
    patch = next(name for name in weights if name.endswith("patch_embed.proj.weight"))
    assert resampled[patch] is weights[patch]


def test_what_cannot_be_resampled_does_not_fit():
    assert fits("model.pos_embed", (1, 197, 192), (1, 37, 192)) and not fits(
        "model.pos_embed", (1, 197, 192), (1, 37, 8)
    )
    assert fits("model.conv.weight", (3, 3), (3, 3)) and not fits("model.conv.weight", (3, 3), (3, 4))


def test_drop_path_reaches_the_encoder_and_only_where_it_can():
    chances = [
        module.drop_prob
        for module in build_model(config_of(SWIN, drop_path=0.4)).modules()
        if type(module).__name__ == "DropPath"
    ]
    assert max(chances) == pytest.approx(0.4) and len(set(chances)) > 3
    with pytest.raises(ValueError, match="drop_path is for timm's transformers, not for encoder resnet18"):
        replace(config_of(SWIN, drop_path=0.4), encoder="resnet18")
