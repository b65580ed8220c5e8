"""No loss waits for a GPU, and those that were rewritten for it have the values and slopes that they had before."""

import math
from typing import Any

import pytest
import segmentation_models_pytorch.losses as smp_losses
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainable.classes import IGNORE_INDEX
from trainable.model import losses
from trainable.model.losses import LOSSES, ClassCounts, build_loss

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))
META = torch.device("meta")

CHOICES = (
    *({"name": name} for name in LOSSES),
    {"name": "ohem_cross_entropy", "threshold": 0.0},
    {"name": "weighted_cross_entropy", "scheme": "inverse", "label_smoothing": 0.1},
)


class FromTheHost(TorchDispatchMode):
    """Notes what takes a tensor of the CPU; numbers, which travel with the launch, aside."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [each for each in args if isinstance(each, Tensor)]
        if any(tensor.device.type == "cpu" and tensor.ndim for tensor in tensors):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_no_value_is_read_back_from_the_device(choice):
    """Operations whose result depends on values raise on the meta device: it has none."""
    loss = build_loss(choice, COUNTS)
    logits = torch.randn(2, 11, 8, 8, device=META, requires_grad=True)
    target = torch.zeros(2, 8, 8, dtype=torch.int64, device=META)
    value = loss(logits, target)
    value.backward()
    assert value.device == META and value.shape == () and logits.grad.shape == logits.shape
    with FromTheHost() as host:
        loss(logits, target)
    assert not host.found, "each step copies to the device, and waits for it"


def test_meta_device_does_refuse_what_waits():
    values = torch.randn(8, device=META)
    for waits in (lambda: values.sum().item(), lambda: values[values > 0], lambda: bool(values.any())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            waits()
    weights = torch.ones(11)
    with FromTheHost() as host:
        weights.to(META)
    assert host.found


def lovasz_of_smp(logits: Tensor, target: Tensor) -> Tensor:
    inner = smp_losses.LovaszLoss("multiclass", per_image=False, ignore_index=IGNORE_INDEX)
    return inner(logits, target) if (target != IGNORE_INDEX).any() else logits.sum() * 0


def ohem_with_topk(threshold: float, share: float):
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        valid = target != IGNORE_INDEX
        pixel_losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")[valid]
        if not len(pixel_losses):
            return logits.sum() * 0
        hard = int((pixel_losses.detach() > -math.log(threshold)).sum()) if threshold else 0
        return pixel_losses.topk(max(hard, math.ceil(share * len(pixel_losses))), sorted=False).values.mean()

    return loss


def weighted_with_copies(logits: Tensor, target: Tensor) -> Tensor:
    weights = losses.class_weights(COUNTS, "median_frequency").to(logits)
    mean = F.cross_entropy(logits, target, weights, ignore_index=IGNORE_INDEX)
    return torch.where((target != IGNORE_INDEX).any(), mean, mean.new_zeros(()))


BEFORE = [
    ({"name": "lovasz"}, lovasz_of_smp),
    ({"name": "weighted_cross_entropy"}, weighted_with_copies),
    *(
        ({"name": "ohem_cross_entropy", "threshold": threshold, "share": share}, ohem_with_topk(threshold, share))
        for threshold, share in ((0.7, 0.25), (0.0, 0.3), (0.9, 0.05), (0.2, 1.0))
    ),
]

BATCHES = {
    "all classes": {},
    "three classes": {"classes": 3},
    "one class": {"classes": 1},
    "a third ignored": {"ignored": 1 / 3},
    "all but a pixel ignored": {"ignored": 1.0},
    "three classes, ignored": {"classes": 3, "ignored": 1 / 3},
    "large logits": {"scale": 1e4, "ignored": 1 / 3},
    "nearly right": {"right": 6.0, "ignored": 1 / 3},
}


def batch(seed: int, classes: int = 11, ignored: float = 0.0, scale: float = 1.0, right: float = 0.0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (3, 17, 13), generator=generator)
    logits = torch.randn(3, 11, 17, 13, generator=generator) * scale
    logits += right * F.one_hot(target, 11).permute(0, 3, 1, 2)
    logits = logits.clamp(-65504, 65504)  # all that fp16 has
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE_INDEX
    if ignored == 1:
        target[1, 2, 3] = 5
    return logits, target


@pytest.mark.parametrize("looks", [True, False], ids=["as on a CPU", "as on a GPU"])
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize(("choice", "before"), BEFORE, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_values_and_slopes_are_those_of_before(choice, before, name, looks, monkeypatch):
    if not looks:
        monkeypatch.setattr(losses, "_may_look", lambda tensor: False)
    for seed in range(3):
        logits, target = batch(seed, **BATCHES[name])
        slopes = []
        values = []
        for loss in (before, build_loss(choice, COUNTS)):
            given = logits.clone().requires_grad_()
            value = loss(given, target)
            value.backward()
            values.append(value.item())
            slopes.append(given.grad)
        assert values[1] == pytest.approx(values[0], rel=1e-6, abs=1e-6)
        assert torch.allclose(slopes[0], slopes[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("looks", [True, False], ids=["as on a CPU", "as on a GPU"])
def test_lovasz_of_nothing_labelled_is_zero_both_ways(looks, monkeypatch):
    if not looks:
        monkeypatch.setattr(losses, "_may_look", lambda tensor: False)
    logits = torch.randn(2, 11, 8, 8, requires_grad=True)
    value = build_loss({"name": "lovasz"}, COUNTS)(logits, torch.full((2, 8, 8), IGNORE_INDEX))
    value.backward()
    assert value.item() == 0 and logits.grad.abs().max() == 0


def test_weights_are_on_the_device_after_a_probe_elsewhere():
    """The attestation asks the loss on the CPU in between."""
    loss = build_loss({"name": "weighted_cross_entropy"}, COUNTS)
    logits, target = batch(0)
    first = loss(logits, target).item()
    loss(logits.double(), target)
    assert loss(logits, target).item() == first
