from dataclasses import replace

import pytest
import torch
from torch import nn

from trainable.artifacts import TrialFolder
from trainable.config import TrialConfig
from trainable.fold import train_fold
from trainable.losses import cross_entropy
from trainable.models import build_model
from trainable.optim import build_optimizer
from trainable.stepping import OutOfMemoryError, Stepper, is_memory_short
from trainable.training import FoldTraining

CONFIG = TrialConfig(
    image_size=64, batch_size=8, architecture="unet", encoder="tu-test_resnet", precision="fp32", device="cpu",
    decoder={"decoder_channels": [16, 16, 16, 8, 8]}, memory_format="contiguous",
)  # fmt: skip


def make(**changes):
    config = replace(CONFIG, **changes)
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # its statistics depend on the micro-batch
    optimizer = build_optimizer({"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}, model)
    stepper = Stepper(config, model, cross_entropy(), optimizer)
    stepper.freeze_encoder(False)
    return stepper


def batch(count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    photos = torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8, generator=generator)
    return photos, torch.randint(0, 11, (count, 64, 64), dtype=torch.uint8, generator=generator)


def weights(stepper):
    return torch.cat([parameter.detach().flatten() for parameter in stepper.model.parameters()])


class ShortMemory(nn.Module):
    """A model on a device that fits `fits` photos at a time, and counts what it is given."""

    def __init__(self, model, fits, error=None):
        super().__init__()
        self.model, self.network, self.fits, self.seen = model, model.network, fits, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def forward(self, photos):
        if len(photos) > self.fits:
            raise self.error
        self.seen.append(len(photos))
        return self.model(photos)


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_micro_batches_add_up_to_the_whole_batch(parts):
    whole, split = make(), make(accumulation=parts)
    for stepper in (whole, split):
        stepper.model.eval()  # batch norm sees the parts otherwise
    assert whole.step(*batch()).item() == pytest.approx(split.step(*batch()).item(), rel=1e-5)
    torch.testing.assert_close(weights(whole), weights(split), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        None,
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory: you tried"),
    ],
)
def test_short_memory_halves_the_micro_batch_and_keeps_the_batch(error):
    stepper = make()
    stepper.model = ShortMemory(stepper.model, fits=3, error=error)
    stepper.step(*batch())
    assert stepper.model.seen == [2, 2, 2, 2]  # 8 and 4 did not fit
    assert stepper.accumulation == 4
    assert stepper.notes == [
        "memory ran short: batches of 8 in 2 parts",
        "memory ran short: batches of 8 in 4 parts",
    ]
    stepper.step(*batch())
    assert len(stepper.notes) == 2
    assert stepper.steps == 2


def test_step_after_short_memory_is_the_step_of_the_whole_batch():
    whole, short = make(), make()
    whole.model.eval()
    short.model.eval()
    short.model = ShortMemory(short.model, fits=4)
    whole.step(*batch())
    short.step(*batch())
    torch.testing.assert_close(weights(whole), weights(short), rtol=1e-4, atol=1e-5)


def test_one_photo_that_does_not_fit_ends_the_trial_with_the_peak():
    stepper = make()
    stepper.model = ShortMemory(stepper.model, fits=0)
    with pytest.raises(OutOfMemoryError, match=r"one photo of 64 px at a time does not fit: peak [\d,]+ MB, then CUDA"):
        stepper.step(*batch())
    assert stepper.accumulation == 8


def test_model_that_needs_two_photos_is_told_apart():
    pooling = {"architecture": "deeplabv3plus", "decoder": {}, "image_size": 64}
    stepper = make(**pooling)
    stepper.model = ShortMemory(stepper.model, fits=1)
    with pytest.raises(OutOfMemoryError, match=r"2 photos of 64 px at a time do not fit \(peak .* and deeplabv3plus"):
        stepper.step(*batch())
    odd = make(**pooling, batch_size=6)
    odd.model = ShortMemory(odd.model, fits=2)
    odd.step(*batch(6))
    assert odd.accumulation == 3  # 6, 3 and 2 + 2 + 1 + 1 were no way
    with pytest.raises(ValueError, match="cannot train on one photo at a time"):
        make(**pooling, accumulation=8).step(*batch())


def test_more_parts_than_photos_are_one_photo_each():
    whole, split = make(), make(accumulation=8)
    for stepper in (whole, split):
        stepper.model.eval()
    whole.step(*batch(5))
    split.step(*batch(5))
    torch.testing.assert_close(weights(whole), weights(split), rtol=1e-4, atol=1e-5)


def test_other_errors_are_not_taken_for_short_memory():
    stepper = make()
    stepper.model = ShortMemory(stepper.model, fits=0, error=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        stepper.step(*batch())
    assert stepper.notes == []
    assert not is_memory_short(ValueError("out of memory"))
    assert is_memory_short(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))


def test_short_memory_in_a_trial_is_recorded(tiny_config, tiny_data, tmp_path, monkeypatch):
    real = Stepper._backward

    def backward(self, photos, masks):
        if len(photos) / self.accumulation > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, photos, masks)

    monkeypatch.setattr(Stepper, "_backward", backward)
    folder = TrialFolder(tmp_path / "0000")
    train_fold(tiny_config, tiny_data, folder, lambda row: None)
    assert [row["accumulation"] for row in folder.curve()] == [2, 2, 2]
    assert folder.notes() == ["memory ran short: batches of 5 in 2 parts"]
    assert folder.config()["batch_size"] == 5


def test_short_memory_in_validation_halves_it_too(tiny_config, tiny_data, monkeypatch):
    from trainable import training

    sizes = []
    real = training.validate

    def validate(stepper, data, batch_size):
        sizes.append(batch_size)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(stepper, data, batch_size)

    monkeypatch.setattr(training, "validate", validate)
    FoldTraining(tiny_config, tiny_data).epoch(1, [])
    assert sizes == [5, 3, 2]


def test_clipping_bounds_the_step():
    free, clipped = make(), make(clip_norm=0.01)
    before = weights(free).clone()
    free.step(*batch())
    clipped.step(*batch())
    assert (weights(clipped) - before).norm() == pytest.approx(0.1 * 0.01, rel=1e-3)  # lr x norm
    assert (weights(free) - before).norm() > 0.01


def test_moving_average_is_validated_and_lies_between_the_weights():
    stepper = make(ema_decay=0.9)
    name = "network.segmentation_head.0.weight"
    seen = []
    for seed in range(6):
        stepper.step(*batch(seed=seed))
        seen.append(stepper.model.state_dict()[name].clone())
    average = stepper.evaluated.state_dict()[name]
    assert stepper.evaluated is not stepper.model
    assert not torch.equal(average, seen[-1])
    low, high = torch.stack(seen).amin(0), torch.stack(seen).amax(0)
    assert ((average >= low - 1e-6) & (average <= high + 1e-6)).all()
    assert make().evaluated is not None


def test_frozen_encoder_stays_as_it_is_statistics_included():
    stepper = make()
    stepper.freeze_encoder(True)
    before = {name: each.clone() for name, each in stepper.model.network.encoder.state_dict().items()}
    head = stepper.model.network.segmentation_head[0].weight.detach().clone()
    stepper.step(*batch())
    after = stepper.model.network.encoder.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    assert not torch.equal(head, stepper.model.network.segmentation_head[0].weight)
    stepper.freeze_encoder(False)
    stepper.step(*batch())
    after = stepper.model.network.encoder.state_dict()
    assert not any(torch.equal(each, after[name]) for name, each in before.items() if name.endswith("conv.weight"))


def test_failing_compile_falls_back_and_says_so(monkeypatch):
    def compiled(photos):
        raise RuntimeError("no C++ compiler\nmore lines")

    monkeypatch.setattr(torch, "compile", lambda model: compiled)
    stepper = make(compile=True)
    stepper.step(*batch())
    assert stepper.steps == 1
    assert stepper.notes == ["torch.compile failed (RuntimeError: no C++ compiler): training without it"]


@pytest.mark.slow
def test_compiled_step_is_the_step(tiny_config, tiny_data):
    plain, compiled = make(), make(compile=True)
    first, second = plain.step(*batch()), compiled.step(*batch())
    assert compiled.notes == []
    assert first.item() == pytest.approx(second.item(), rel=1e-4)
    torch.testing.assert_close(weights(plain), weights(compiled), rtol=1e-3, atol=1e-4)


def test_notes_and_parts_survive_a_resume():
    stepper = make(ema_decay=0.9)
    stepper.step(*batch())
    stepper.accumulation, stepper.notes = 4, ["memory ran short"]
    other = make(ema_decay=0.9)
    other.load_state(*stepper.state())
    assert (other.accumulation, other.steps, other.notes) == (4, 1, ["memory ran short"])
    pairs = zip(stepper.evaluated.parameters(), other.evaluated.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
