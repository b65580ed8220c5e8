from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainable.classes import IGNORE_INDEX
from trainable.config import TrialConfig
from trainable.engine.epoch_files import writing
from trainable.engine.fold_training import FoldTraining
from trainable.engine.train_step import Stepper
from trainable.fold import train_fold
from trainable.machine.device import OutOfMemoryError, is_memory_short
from trainable.model.losses import LOSSES, ClassCounts, build_loss
from trainable.model.optim import build_optimizer
from trainable.model.segmenter import build_model
from trainable.run_folder.folders import TrialFolder

CONFIG = TrialConfig(
    image_size=64,
    batch_size=8,
    architecture="unet",
    encoder="tu-test_resnet",
    precision="fp32",
    device="cpu",
    decoder={"decoder_channels": [16, 16, 16, 8, 8]},
    memory_format="contiguous",
)


COUNTS = ClassCounts(torch.tensor([9000, 500, 300, 200, *[100] * 7]), torch.tensor([20, 10, 2, 3, *[4] * 7]))


def make(**changes):
    config = replace(CONFIG, **changes)
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # its statistics depend on the micro-batch
    optimizer = build_optimizer({"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}, model)
    stepper = Stepper(config, model, build_loss(config.loss, COUNTS), optimizer)
    stepper.freeze_encoder(False)
    return stepper


def batch(count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    photos = torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8, generator=generator)
    return photos, torch.randint(0, 11, (count, 64, 64), dtype=torch.uint8, generator=generator)


def weights(stepper):
    return torch.cat([parameter.detach().flatten() for parameter in stepper.model.parameters()])


def unequal_batch():
    """Photos of which the first has a pixel in a hundred labelled, and the last classes of its own."""
    photos, masks = batch()
    masks[0][torch.arange(64 * 64).view(64, 64) % 100 > 0] = IGNORE_INDEX
    masks[-1] = masks[-1] % 2
    return photos, masks


def gradient(stepper):
    return torch.cat([parameter.grad.flatten() for parameter in stepper.model.parameters()])


def cosine(first, second):
    return torch.nn.functional.cosine_similarity(first, second, 0).item()


@contextmanager
def memory_of(share, stepper, photos):
    """Let PyTorch run out of memory where a forward pass keeps more than a share of what a plain one keeps."""

    def keep(tensor):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        if limit and sum(sizes.values()) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return tensor

    def backward(photos, masks):
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            return real(photos, masks)

    sizes, limit, real = {}, 0, stepper._backward
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        make(**CHANGES).model(photos)
    limit = share * sum(sizes.values())
    stepper._backward = backward
    yield


CHANGES = {"architecture": "fpn", "decoder": {"decoder_pyramid_channels": 64}}
"""A network with dropout."""


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
    assert stepper.model.seen == [2, 2, 2, 2] * 2  # 8 and 4 did not fit; once for the loss, once for the gradient
    assert stepper.accumulation == 4
    assert stepper.notes == [
        "memory ran short: activation checkpointing, with the same gradient",
        "memory ran short: batches of 8 in 2 parts: batch norm sees 4 photos at a time, which changes the gradient",
        "memory ran short: batches of 8 in 4 parts: batch norm sees 2 photos at a time, which changes the gradient",
    ]
    stepper.step(*batch())
    assert len(stepper.notes) == 3
    assert stepper.steps == 2


@pytest.mark.parametrize("name", LOSSES)
def test_parts_have_the_gradient_of_the_whole_batch_whatever_the_loss(name):
    whole = make(loss={"name": name})
    whole.model.eval()  # batch norm sees the parts otherwise
    first = whole._backward(*unequal_batch()).item()
    for parts in (2, 8):
        split = make(loss={"name": name}, accumulation=parts)
        split.model.eval()
        assert split._backward(*unequal_batch()).item() == pytest.approx(first, rel=1e-5)
        assert cosine(gradient(split), gradient(whole)) > 0.99999
        assert (gradient(split).norm() / gradient(whole).norm()).item() == pytest.approx(1, rel=1e-3)


def test_batch_norm_sees_the_parts_and_the_gradient_is_another():
    whole, split = make(), make(accumulation=2)
    for stepper in (whole, split):
        stepper._backward(*batch())
    assert 0.5 < cosine(gradient(split), gradient(whole)) < 0.999


def test_parts_draw_the_same_at_random_in_both_passes_and_count_once():
    stepper, logits = make(**CHANGES, accumulation=2), []
    real = stepper.logits
    stepper.logits = lambda *given: logits.append(real(*given)) or logits[-1]
    stepper.step(*batch())
    assert all(torch.equal(first, second) for first, second in zip(logits[:2], logits[2:], strict=True))
    assert not torch.equal(stepper.logits(stepper.model, batch()[0]), stepper.logits(stepper.model, batch()[0]))
    counted = {int(each) for name, each in stepper.model.named_buffers() if name.endswith("tracked")}
    assert counted == {2 + 2}  # the step's two parts, and the two of the line before


def test_parts_keep_the_scale_of_fp16():
    plain, scaled = make(accumulation=2), make(accumulation=2)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for stepper in (plain, scaled):
        stepper.step(*batch())
    torch.testing.assert_close(weights(plain), weights(scaled), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(1024 * gradient(plain), gradient(scaled) * 1024, rtol=1e-4, atol=1e-3)


def test_short_memory_checkpoints_activations_before_it_splits():
    plain, short = make(**CHANGES), make(**CHANGES)
    states = []
    for stepper in (plain, short):
        for module in stepper.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1
        with memory_of(0.7 if stepper is short else 2, stepper, batch()[0]):
            torch.manual_seed(5)
            losses = [stepper.step(*batch(seed=seed)) for seed in range(2)]
        states.append([*losses, *stepper.model.state_dict().values(), torch.get_rng_state()])
    assert (short.accumulation, bool(short.recomputed), plain.recomputed) == (1, True, None)
    assert short.notes == ["memory ran short: activation checkpointing, with the same gradient"]
    assert all(torch.equal(first, second) for first, second in zip(*states, strict=True))


def test_memory_too_short_for_checkpointing_splits_too():
    stepper = make(**CHANGES)
    with memory_of(0.2, stepper, batch()[0]):
        stepper.step(*batch())
    assert stepper.recomputed and stepper.accumulation > 1
    assert [note.split(",")[0].split(":")[1] for note in stepper.notes[:2]] == [
        " activation checkpointing",
        " batches of 8 in 2 parts",
    ]


def test_modules_that_do_something_else_a_second_time_end_checkpointing(monkeypatch):
    stepper, calls = make(), []
    block = stepper.model.network.decoder.blocks[0].conv1
    real = block.forward

    def changing(photos):
        calls.append(len(photos))
        return real(photos).sigmoid() if len(calls) == 2 else real(photos)

    block.forward = changing
    with memory_of(0.9, stepper, batch()[0]):
        stepper.step(*batch())
    assert stepper.recomputed == [] and stepper.steps == 1
    assert stepper.notes[0] == "memory ran short: activation checkpointing, with the same gradient"
    assert stepper.notes[1].startswith("no activation checkpointing: unet does not allow it (")
    assert stepper.notes[2].startswith("memory ran short: batches of 8 in 2 parts")


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
    assert is_memory_short(RuntimeError("GET was unable to find an engine to execute this computation"))


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
    assert folder.notes() == [
        "memory ran short: activation checkpointing, with the same gradient",
        "memory ran short: batches of 5 in 2 parts: batch norm sees 3 photos at a time, which changes the gradient",
    ]
    assert folder.config()["batch_size"] == 5


def test_resumed_training_takes_its_steps_the_same_way(tiny_config, tiny_data, tmp_path, monkeypatch):
    real, whole = Stepper._backward, TrialFolder(tmp_path / "0000")

    def backward(self, photos, masks):
        if self.accumulation == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, photos, masks)

    class StoppedError(Exception):
        pass

    def stop(row):
        monkeypatch.setattr(Stepper, "_backward", real)  # memory is there again: the way stays as it was
        raise StoppedError

    monkeypatch.setattr(Stepper, "_backward", backward)
    train_fold(tiny_config, tiny_data, whole, lambda row: None)
    stopped = TrialFolder(tmp_path / "0001")
    with pytest.raises(StoppedError):
        train_fold(tiny_config, tiny_data, stopped, stop)
    train_fold(tiny_config, tiny_data, stopped, lambda row: None, resume=True)
    assert [(row["recomputed"], row["accumulation"]) for row in stopped.curve()] == [(1, 2)] * 3
    for name in ("train_loss", *SAME):
        assert [row[name] for row in stopped.curve()] == [row[name] for row in whole.curve()]
    assert stopped.notes() == whole.notes()


def test_short_memory_in_validation_halves_it_alone(tiny_config, tiny_data, tmp_path, monkeypatch):
    from trainable.engine import fold_training as training

    sizes = []
    real = training.validate

    def validate(stepper, data, batch_size):
        sizes.append(batch_size)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(stepper, data, batch_size)

    config = replace(tiny_config, loss={"name": "lovasz"})  # no mean over photos: parts would have another loss
    plain, _ = FoldTraining(config, tiny_data).epoch(1, [])
    monkeypatch.setattr(training, "validate", validate)
    trained = FoldTraining(config, tiny_data)
    row, _ = trained.epoch(1, [])
    assert sizes == [5, 3, 2]
    assert {name: row[name] for name in SAME} == pytest.approx({name: plain[name] for name in SAME}, rel=1e-5)
    assert (row["accumulation"], row["recomputed"], trained.stepper.recomputed) == (1, 0, None)
    assert trained.stepper.notes == [
        "memory ran short: 3 photos at a time in validation",
        "memory ran short: 2 photos at a time in validation",
    ]
    writing(trained, TrialFolder(tmp_path), [row], None, best=False, behind=False)()
    again = FoldTraining(config, tiny_data)
    again.restore(TrialFolder(tmp_path))
    again.epoch(2, [0.1])
    assert sizes == [5, 3, 2, 2]


SAME = ("train_loss", "val_loss", "val_miou", "val_miou_full")


def test_photo_that_cannot_be_validated_ends_the_trial(tiny_config, tiny_data, monkeypatch):
    from trainable.engine import fold_training as training

    def validate(stepper, data, batch_size):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "validate", validate)
    with pytest.raises(OutOfMemoryError, match=r"validating one photo of 32 px at a time does not fit: peak"):
        FoldTraining(tiny_config, tiny_data).epoch(1, [])


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
def test_compiled_step_is_the_step():
    small = {"encoder_depth": 3, "decoder_channels": [8, 8, 8]}  # each kernel is a run of the C++ compiler
    plain, compiled = make(decoder=small), make(decoder=small, compile=True)
    first, second = plain.step(*batch()), compiled.step(*batch())
    assert compiled.notes == []
    assert first.item() == pytest.approx(second.item(), rel=1e-4)
    torch.testing.assert_close(weights(plain), weights(compiled), rtol=1e-3, atol=1e-4)


def test_notes_and_parts_survive_a_resume():
    stepper = make(ema_decay=0.9)
    stepper.step(*batch())
    stepper.accumulation, stepper.notes = 4, ["memory ran short"]
    stepper.recomputed = ["decoder.blocks.0"]
    other = make(ema_decay=0.9)
    for _ in range(2):  # a resume reads the last epoch's state, then that in the midst of the next
        other.load_state(*stepper.state())
    assert (other.accumulation, other.steps, other.notes) == (4, 1, ["memory ran short"])
    assert other.recomputed == ["decoder.blocks.0"]
    calls = []
    other.model.network.decoder.blocks[0].conv1.register_forward_hook(lambda *_: calls.append(1))
    other.accumulation = 1
    other.step(*batch())
    assert len(calls) == 2
    tensors, header = stepper.state()
    del header["recomputed"]  # of an earlier version
    other.load_state(tensors, header)
    assert other.recomputed is None
    pairs = zip(stepper.evaluated.parameters(), other.evaluated.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
