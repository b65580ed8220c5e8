"""A space samples only what can matter: another value of any parameter trains another way."""

import random
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from torch import nn

from spaces.encoders import STRIDES
from spaces.optimizers import FREEZE_SHARES, PRETRAINED, freeze_shares
from spaces.parts import Scope
from spaces.table import JOINT, SPACES, find_space
from trainable.config import TrialConfig
from trainable.dataset.cache import Cache
from trainable.engine.train_step import Stepper
from trainable.model.losses import ClassCounts, build_loss
from trainable.model.optim import build_optimizer, parameter_groups
from trainable.model.schedules import build_schedule
from trainable.model.segmenter import build_empty
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.mixing import build_mixing
from trainable.pipeline.oversampling import build_draws

MODELS = (
    ("unetplusplus", "resnet18"), ("unet", "mobilenet_v2"), ("manet", "resnet18"), ("deeplabv3plus", "resnet18"),
    ("deeplabv3plus", "mobilenet_v2"), ("pan", "resnet18"), ("fpn", "resnet18"), ("pspnet", "resnet18"),
    ("upernet", "resnet18"), ("segformer", "mit_b0"), ("linknet", "resnet18"), ("linknet", "mobilenet_v2"),
)  # fmt: skip
SCOPE = Scope(models=MODELS, strides=dict(STRIDES), image_sizes=(32, 64))
SIDE, PHOTOS = 128, 12
EPOCHS = 12

SQUARES = ((0, 0, 2), (0, 10, 3), (0, 20, 4), (0, 30, 5), (20, 0, 24), (50, 0, 30), (40, 40, 85))
"""Row, column and side in pixels."""

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))


class Given(optuna.trial.FixedTrial):
    """Has some values, and takes the first or highest of what is asked beside them."""

    def _suggest(self, name, distribution):
        plain = isinstance(distribution, CategoricalDistribution)
        value = self._params.get(name, distribution.choices[0] if plain else distribution.high)
        self._suggested_params[name], self._distributions[name] = value, distribution
        return value


@pytest.fixture(scope="module")
def photos():
    """Noise with squares of all sizes; some classes are rare, and some photos mostly background."""
    rng = np.random.default_rng(0)
    masks = np.zeros((PHOTOS, SIDE, SIDE), np.uint8)
    for photo in range(PHOTOS):
        masks[photo, 120:126, 0:6] = 1 + photo // 6
        masks[photo, 120:126, 10:16] = 10 if photo < 4 else 0  # neither rare nor common
        for top, left, side in SQUARES[: 6 if photo % 4 == 1 else 7]:
            masks[photo, top : top + side, left : left + side] = 1 + photo % 10
    pixels = np.stack([(masks == index).sum((1, 2)) for index in range(11)], 1)
    return Cache(
        path=None,
        file_names=tuple(map(str, range(PHOTOS))),
        masks=masks,
        score_masks=masks,
        class_pixels=pixels,
        images=rng.integers(0, 256, (PHOTOS, SIDE, SIDE, 3), dtype=np.uint8),
        annotation_counts=np.ones(PHOTOS),
        photo_sizes=np.full((PHOTOS, 2), SIDE),
        scene_hashes=np.zeros((PHOTOS, 8), np.uint64),
    )


class Tiny(nn.Module):
    """What a stepper asks of a model; its gradients are large enough to be clipped at any norm."""

    def __init__(self):
        super().__init__()
        self.network = nn.ModuleDict({"encoder": nn.Conv2d(3, 4, 1), "head": nn.Conv2d(4, 11, 1)})
        self.network.encoder = self.network["encoder"]

    def forward(self, photos):
        return self.network["head"](10 * self.network["encoder"](photos.permute(0, 3, 1, 2) / 25))


def trained(config, _):
    """Return a toy's validated weights after a few steps."""
    torch.manual_seed(0)
    model = Tiny()
    config = replace(config, device="cpu", precision="fp32")
    optimizer = build_optimizer(config.optimizer, model, config.encoder_lr_factor)
    stepper = Stepper(config, model, build_loss({"name": "cross_entropy"}, COUNTS), optimizer)
    for seed in range(8):  # one more than Lookahead's first slow step, for an average of different weights
        generator = torch.Generator().manual_seed(seed)
        bright = 4 ** (1 + seed % 4)  # so that the gradients are of different norms
        batch = torch.randint(0, bright, (2, 4, 4, 3), dtype=torch.uint8, generator=generator)
        stepper.step(batch, torch.randint(0, 11, (2, 4, 4), generator=generator))
    return torch.cat([each.detach().flatten() for each in stepper.evaluated.parameters()]).tolist()


def losses_of(config, _):
    """Return the loss of logits that are right seldom and often."""
    loss, found = build_loss(config.loss, COUNTS), []
    target = torch.arange(2 * 3 * 3).reshape(2, 3, 3).remainder(11)
    target = target.repeat_interleave(12, 1).repeat_interleave(12, 2)
    for right in (0.0, 3.0, 6.0):
        logits = torch.randn(2, 11, 36, 36, generator=torch.Generator().manual_seed(0))
        found.append(loss(logits.scatter_add(1, target[:, None], torch.full((2, 1, 36, 36), right)), target).item())
    return found


def rates(config, _):
    """Return the schedule's factors over the budget where val_miou rises at first."""
    schedule = build_schedule(config.scheduler, EPOCHS)
    curve = [min(0.1 * epoch, 0.3) for epoch in range(EPOCHS)]
    return [schedule(spent, curve[: int(spent * EPOCHS)]) for spent in np.linspace(0, 0.999, 240)]


def draws_of(config, photos):
    draws = build_draws(config.oversampling, photos, np.arange(PHOTOS))
    epochs = [draws.epoch(np.random.default_rng(seed)) for seed in range(4)]
    return epochs, [(each.position, each.class_index, each.area) for each in draws.patches]


def augmented(config, _):
    return str(build_augmentation(config.augmentation, config.operations, (SIDE, SIDE)).to_dict())


def network(config, _):
    built = build_empty(config)
    return str(built), [tuple(each.shape) for each in built.state_dict().values()]


def layer_rates(config, _):
    groups = parameter_groups(nn.ModuleDict({"network": build_empty(config)}), config.layer_decay)
    return [group["layer_factor"] for group in groups]


EFFECTS = {
    "loss": losses_of, "optimizer": trained, "clip_norm": trained, "ema_decay": trained, "encoder_lr_factor": trained,
    "freeze_share": lambda config, _: config.freeze_epochs, "scheduler": rates, "oversampling": draws_of,
    "mixing": lambda config, _: build_mixing(config.mixing), "augmentation": augmented, "operations": augmented,
    "architecture": lambda config, _: config.architecture, "encoder": lambda config, _: config.encoder,
    "decoder": network, "drop_path": network, "layer_decay": layer_rates,
    "image_size": lambda config, _: config.image_size,
}  # fmt: skip
"""What comes of a key of the config."""


def other_value(distribution, value, seed):
    """Return another choice, or the farther end of a range; None where there is but one choice."""
    if isinstance(distribution, CategoricalDistribution):
        choices = [each for each in distribution.choices if each != value]
        return random.Random(seed).choice(choices) if choices else None
    return max(distribution.low, distribution.high, key=lambda each: abs(each - value))


PER_KIND = {"losses": "loss", "optimizers": "optimizer", "schedulers": "scheduler", "oversampling": "oversampling",
            "augmentations": "augmentation", "encoders": "architecture"}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_another_value_of_anything_sampled_trains_another_way(name, photos):
    space, study = find_space(name, SCOPE), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen, idle = set(), []
    for _ in range(80):
        trial = study.ask()
        config = TrialConfig.from_dict({"epochs": EPOCHS, **space.sample(trial)})
        for parameter, distribution in trial.distributions.items():
            value, case = trial.params[parameter], (parameter, trial.params.get(PER_KIND[name]))
            different = other_value(distribution, value, str(case))
            if case in seen or different is None:
                continue
            seen.add(case)
            other = TrialConfig.from_dict(
                {"epochs": EPOCHS, **space.sample(Given({**trial.params, parameter: different}))}
            )
            keys = [key for key in EFFECTS if getattr(config, key) != getattr(other, key)]
            if not any(EFFECTS[key](config, photos) != EFFECTS[key](other, photos) for key in keys):
                idle.append((*case, value, different))
    assert idle == []


def names(scope, space="optimizers"):
    """Return all names that a space samples."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return {name for _ in range(60) for name in sampled(find_space(space, scope), study.ask())}


def sampled(space, trial):
    space.sample(trial)
    return trial.params


def test_what_spares_an_encoder_is_sampled_only_where_it_has_weights():
    assert names(SCOPE) - names(replace(SCOPE, pretrained=False)) == set(PRETRAINED)
    for space in ("optimizers", JOINT):
        found = find_space(space, replace(SCOPE, pretrained=False))
        assert not any(set(PRETRAINED) & each.keys() for each in found.first_trials)
        for seed in range(20):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
            assert not set(PRETRAINED) & found.sample(study.ask()).keys()


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 6, 12, 30])
def test_plateau_and_its_patience_are_sampled_where_they_make_another_course(epochs):
    def courses(**parameters):
        schedule = build_schedule({"name": "plateau", **parameters}, epochs)
        curves = [[0.5, *[0.4] * epoch] for epoch in range(epochs - 1)]
        return tuple(schedule((epoch + 1) / epochs, curve) for epoch, curve in enumerate(curves))

    sampled = names(replace(SCOPE, epochs=epochs), "schedulers")
    assert ("plateau_factor" in sampled) == (courses(factor=0.1, patience=0.08) != courses(factor=0.7, patience=0.08))
    assert ("patience" in sampled) == (courses(factor=0.5, patience=0.08) != courses(factor=0.5, patience=0.3))


@pytest.mark.parametrize(
    ("epochs", "shares"), [(1, (0.0,)), (2, (0.0,)), (4, (0.0, 0.2)), (7, (0.0, 0.1)), (12, FREEZE_SHARES)]
)
def test_encoders_are_frozen_for_shares_that_differ_in_the_budget(epochs, shares):
    assert freeze_shares(epochs) == shares
    frozen = [TrialConfig(epochs=epochs, freeze_share=share).freeze_epochs for share in shares]
    assert sorted(set(frozen)) == frozen
    scope = replace(SCOPE, freeze_shares=shares)
    assert ("freeze_share" in names(scope, "optimizers")) == (len(shares) > 1)
    first = find_space("optimizers", scope).first_trials
    assert all(("freeze_share" in each) == (len(shares) > 1) for each in first)
