import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import SHARED
from trainable import encoder_weights
from trainable.classes import CLASSES
from trainable.config import TrialConfig
from trainable.model import segmenter as models
from trainable.model.segmenter import build_model, check_model, parameter_count


@pytest.mark.parametrize("architecture", ["unetplusplus", "deeplabv3plus", "unet", "fpn", "pan", "manet", "linknet"])
def test_takes_uint8_photos_and_gives_logits_at_their_size(architecture):
    model = build_model(TrialConfig(architecture=architecture, encoder="tu-test_resnet", image_size=128)).eval()
    photos = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8)
    assert model(photos).shape == (2, len(CLASSES), 128, 128)


def test_normalises_as_the_encoder_was_trained():
    lite = build_model(TrialConfig(encoder="tu-tf_efficientnet_lite0"))
    assert lite.mean.flatten().tolist() == pytest.approx([127.5] * 3)
    resnet = build_model(TrialConfig(encoder="resnet18"))  # no network: its weights are not asked for
    assert resnet.mean.flatten().tolist() == pytest.approx([0.485 * 255, 0.456 * 255, 0.406 * 255])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"architecture": "unet++"}, r"unknown architecture 'unet\+\+'; did you mean 'unet'"),
        ({"encoder": "resnet19"}, r"unknown encoder 'resnet19'; did you mean 'resnet"),
        ({"encoder": "tu-resnet19"}, r"unknown encoder 'tu-resnet19'; did you mean 'tu-resnet"),
        ({"encoder": "resnet18", "image_size": 100}, r"100 is not divisible by 32, .* use 96 or 128"),
        (
            {"encoder": "resnet18", "architecture": "deeplabv3plus", "image_size": 100},
            r"not divisible by 16, .* use 96 or 112",
        ),
        (
            {"encoder": "resnet18", "architecture": "pan", "image_size": 64},
            "pan on resnet18 cannot take photos of 64 px: .*; try another size",
        ),
        ({"encoder": "tu-resnet50t", "encoder_weights": "imagenet"}, "no imagenet weights of tu-resnet50t"),
        ({"encoder": "mit_b0"}, "unetplusplus cannot be built on mit_b0"),
        ({"encoder": "mit_b0", "architecture": "linknet"}, "linknet cannot be built on mit_b0"),
        ({"encoder": "resnet18", "architecture": "dpt"}, "dpt cannot be built on resnet18: Only Timm encoders"),
        ({"encoder": "tu-vit_tiny_patch16_224", "architecture": "pan"}, "no output stride of 16, use 32"),
        (
            {"encoder": "tu-swin_tiny_patch4_window7_224", "architecture": "deeplabv3plus"},
            "deeplabv3plus cannot be built on tu-swin_tiny_patch4_window7_224",
        ),
        (
            {"encoder": "tu-hrnet_w18_small_v2", "architecture": "deeplabv3plus"},
            "cannot be built on tu-hrnet_w18_small_v2: the encoder cannot be dilated",
        ),
        ({"encoder": "resnet18", "decoder": {"depth": 9}}, "cannot be built on resnet18 with depth 9: "),
    ],
)
def test_what_cannot_train_is_found_without_training(change, text):
    with pytest.raises(ValueError, match=text):
        check_model(TrialConfig(**change))


def test_memory_format_holds_for_what_goes_through():
    photos = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    for name, channels_last in (("channels_last", True), ("contiguous", False)):
        model = build_model(TrialConfig(encoder="tu-test_resnet", image_size=32, memory_format=name)).eval()
        seen = []
        model.network.encoder.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        model(photos)
        assert seen[0].is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize("architecture", ["deeplabv3plus", "upernet"])
def test_architectures_that_need_two_photos_are_found(architecture):
    with pytest.raises(ValueError, match="cannot train on one photo at a time"):
        check_model(TrialConfig(architecture=architecture, encoder="resnet18", image_size=64, batch_size=1))
    check_model(TrialConfig(architecture=architecture, encoder="resnet18", image_size=64, batch_size=2))


def test_encoder_weights_come_from_a_folder(tmp_path):
    config = TrialConfig(encoder="tu-test_resnet", encoder_weights=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"tu-test_resnet.safetensors; .* has: none"):
        check_model(config)
    source = build_model(TrialConfig(encoder="tu-test_resnet")).network.encoder
    weights = {name: each.contiguous() for name, each in source.state_dict().items()}
    save_file(weights, tmp_path / "tu-test_resnet.safetensors")
    loaded = build_model(config).network.encoder
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(FileNotFoundError, match="has: tu-test_resnet"):
        check_model(TrialConfig(encoder="resnet18", encoder_weights=str(tmp_path)))
    save_file({"a": torch.zeros(1)}, tmp_path / "resnet18.safetensors")
    with pytest.raises(ValueError, match=r"resnet18.safetensors: the file lacks 1\d\d of its weights, such as"):
        check_model(TrialConfig(encoder="resnet18", encoder_weights=str(tmp_path)))
    (tmp_path / "resnet18.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"resnet18.safetensors is damaged .*; replace it"):
        check_model(TrialConfig(encoder="resnet18", encoder_weights=str(tmp_path)))


def test_published_encoder_weights_fit():
    if not (SHARED / "weights").exists():
        pytest.skip("no published encoder weights at hand; set TRASH_SHARED")
    config = TrialConfig(encoder="mobilenet_v2", architecture="deeplabv3plus", encoder_weights=str(SHARED / "weights"))
    model = build_model(config)
    lite = {"encoder": "tu-tf_efficientnet_lite0", "encoder_weights": str(SHARED / "weights")}
    with pytest.raises(ValueError, match=r"dpt cannot be built on tu-tf_efficientnet_lite0 with .* lacks 8 of its"):
        check_model(TrialConfig(architecture="dpt", **lite))
    assert parameter_count(model) > 2_000_000
    assert model.network.encoder.state_dict()["features.0.0.weight"].dtype == torch.float32


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_published_imagenet_weights_are_known_without_asking_for_them(encoder):
    check_model(TrialConfig(encoder=encoder, encoder_weights="imagenet"))


def test_download_that_cannot_happen_says_which_file_to_put_where(monkeypatch):
    def offline(*_, **__):
        raise OSError("cannot find the requested files\nmore")

    monkeypatch.setattr(models, "create_network", offline)
    monkeypatch.setattr(models, "check_model", lambda config: None)
    with pytest.raises(FileNotFoundError, match=r"resnet18 cannot be downloaded \(cannot find the req") as e:
        build_model(TrialConfig(encoder="resnet18", encoder_weights="imagenet"))
    assert "python -m trainable.encoder_weights resnet18 --out DIR" in str(e.value)
    assert "DIR/resnet18.safetensors" in str(e.value)


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0", "tu-test_resnet"])
def test_saved_encoder_weights_are_taken(tmp_path, encoder):
    path = encoder_weights.save_encoder(encoder, tmp_path, weights=None)
    assert path == tmp_path / f"{encoder}.safetensors"
    build_model(TrialConfig(architecture="unet", encoder=encoder, encoder_weights=str(tmp_path), image_size=64))


def test_unknown_encoder_to_download_is_one_line(tmp_path, capsys):
    assert encoder_weights.main(["resnet19", "--out", str(tmp_path)]) == 2
    assert "unknown encoder 'resnet19'; did you mean" in capsys.readouterr().err
