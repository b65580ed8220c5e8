import math

import pytest
import torch
import torch.nn.functional as F

from spaces.losses import LOSSES as SPACE_LOSSES
from trainable.classes import IGNORE_INDEX
from trainable.model.losses import LOSSES, MAX_WEIGHT, SCHEMES, ClassCounts, build_loss, class_weights

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 11, 8, 8, generator=generator, requires_grad=True)
    target = torch.randint(0, 11, (2, 8, 8), generator=generator)
    return logits, target


@pytest.mark.parametrize("name", LOSSES)
def test_is_finite_and_falls_when_the_prediction_gets_better(name):
    loss = build_loss({"name": name}, COUNTS)
    logits, target = batch()
    value = loss(logits, target)
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad.abs().sum() > 0
    right = F.one_hot(target, 11).permute(0, 3, 1, 2) * 20.0
    assert loss(right, target) < 0.1 * value


@pytest.mark.parametrize("name", LOSSES)
def test_leaves_out_ignored_pixels(name):
    loss = build_loss({"name": name}, COUNTS)
    logits, target = batch()
    ignored = torch.zeros_like(target, dtype=torch.bool)
    ignored[:, :3] = True
    masked = target.masked_fill(ignored, IGNORE_INDEX)
    changed = torch.where(ignored[:, None], torch.randn(1), logits)
    assert loss(logits, masked).item() == pytest.approx(loss(changed, masked).item(), rel=1e-5)
    assert loss(logits, masked).item() != pytest.approx(loss(logits, target).item(), rel=1e-5)


def test_focal_at_gamma_zero_is_cross_entropy():
    logits, target = batch()
    target[0, 0] = IGNORE_INDEX
    focal, cross_entropy = (
        build_loss(choice, COUNTS) for choice in ({"name": "focal", "gamma": 0.0}, {"name": "cross_entropy"})
    )
    assert focal(logits, target).item() == pytest.approx(cross_entropy(logits, target).item(), rel=1e-6)


def test_focal_of_one_pixel_by_hand():
    logits = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1)  # p = 0.75
    value = build_loss({"name": "focal", "gamma": 2.0}, COUNTS)(logits, torch.zeros(1, 1, 1, dtype=torch.int64))
    assert value.item() == pytest.approx(0.25**2 * -math.log(0.75))


def test_tversky_at_half_and_half_is_dice():
    logits, target = batch()
    tversky = build_loss({"name": "tversky", "alpha": 0.5, "beta": 0.5}, COUNTS)
    assert tversky(logits, target).item() == pytest.approx(
        build_loss({"name": "dice"}, COUNTS)(logits, target).item(), rel=1e-5
    )


def test_blend_is_the_weighted_sum():
    logits, target = batch()
    parts = [build_loss({"name": name}, COUNTS)(logits, target).item() for name in ("cross_entropy", "dice")]
    blend = build_loss({"name": "ce_dice", "weight": 0.3}, COUNTS)(logits, target).item()
    assert blend == pytest.approx(0.7 * parts[0] + 0.3 * parts[1], rel=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_class_weights_favour_rare_classes_within_bounds(scheme):
    weights = class_weights(COUNTS, scheme)
    assert weights[3] == 0  # in no photo
    present = weights[COUNTS.pixels > 0]
    assert present.mean().item() == pytest.approx(1)
    assert present.min() == weights[0]
    assert present.max() / present.min() <= MAX_WEIGHT + 1e-3


def test_class_weights_by_hand():
    inverse = class_weights(ClassCounts(torch.tensor([90, 10]), torch.tensor([2, 1])), "inverse")
    assert (inverse[1] / inverse[0]).item() == pytest.approx(9)
    median = class_weights(ClassCounts(torch.tensor([90, 10]), torch.tensor([2, 1])), "median_frequency")
    assert (median[1] / median[0]).item() == pytest.approx(45 / 10)


def test_unknown_names_and_parameters_list_the_known():
    with pytest.raises(ValueError, match=r"unknown loss 'focall'; did you mean 'focal'"):
        build_loss({"name": "focall"}, COUNTS)
    with pytest.raises(ValueError, match=r"loss 'focal' has no parameter 'alpha'; it has gamma"):
        build_loss({"name": "focal", "alpha": 1}, COUNTS)
    with pytest.raises(ValueError, match="no parameter 'counts'"):
        build_loss({"name": "weighted_cross_entropy", "counts": 1}, COUNTS)
    with pytest.raises(ValueError, match="unknown class weights 'log'; known are inverse"):
        build_loss({"name": "weighted_cross_entropy", "scheme": "log"}, COUNTS)


def test_space_names_every_loss():
    assert set(SPACE_LOSSES) == set(LOSSES)


def test_ohem_keeps_the_hard_pixels_by_hand():
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0, 0] = torch.tensor([4.0, 2.0, 0.0, -2.0])  # probabilities of class 0: 0.98, 0.88, 0.5, 0.12
    target = torch.zeros(1, 1, 4, dtype=torch.int64)
    each = F.cross_entropy(logits, target, reduction="none").flatten()
    top = build_loss({"name": "ohem_cross_entropy", "threshold": 0.0, "share": 0.25}, COUNTS)
    assert top(logits, target).item() == pytest.approx(each[3].item())
    hard = build_loss({"name": "ohem_cross_entropy", "threshold": 0.7, "share": 0.25}, COUNTS)
    assert hard(logits, target).item() == pytest.approx(each[2:].mean().item())
    assert hard(logits, torch.full_like(target, IGNORE_INDEX)).item() == 0


def test_boundary_weights_count_pixels_near_another_class():
    logits, target = torch.randn(1, 11, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64)
    target[..., 4:] = 1
    each = F.cross_entropy(logits, target, reduction="none")
    near = each[..., 3:5].sum(), each.sum()
    value = build_loss({"name": "boundary_cross_entropy", "weight": 2.0, "width": 1}, COUNTS)(logits, target)
    assert value.item() == pytest.approx(((near[1] + 2 * near[0]) / (64 + 2 * 16)).item(), rel=1e-5)


def test_ignored_pixels_are_no_boundary():
    logits = torch.randn(1, 11, 8, 8)
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[..., 5:] = IGNORE_INDEX
    boundary, plain = (build_loss({"name": name}, COUNTS) for name in ("boundary_cross_entropy", "cross_entropy"))
    assert boundary(logits, target).item() == pytest.approx(plain(logits, target).item(), rel=1e-5)


def test_focal_tversky_at_gamma_one_is_tversky():
    logits, target = batch()
    focal, plain = (
        build_loss({"name": name, "alpha": 0.3, "beta": 0.7, **more}, COUNTS)(logits, target).item()
        for name, more in (("focal_tversky", {"gamma": 1.0}), ("tversky", {}))
    )
    assert focal == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_labelled_is_no_loss_and_no_gradient(name):
    logits = torch.randn(2, 11, 8, 8, requires_grad=True)
    value = build_loss({"name": name}, COUNTS)(logits, torch.full((2, 8, 8), IGNORE_INDEX))
    assert value.item() == pytest.approx(0, abs=1e-4)
    value.backward()
    assert logits.grad.abs().max() == 0
