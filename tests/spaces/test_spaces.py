"""Every space: sampled configs are valid, build, and take a training step on a toy network."""

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
import timm
import torch

from spaces import augmentations, encoders, losses, optimizers, oversampling, schedulers
from spaces.encoders import GROUPS, NOT_FREE, group_for, pairs
from spaces.parts import Scope
from spaces.table import JOINT, SPACES, find_space, space_names
from trainable.config import TrialConfig
from trainable.encoder_families import is_transformer, licence, takes_drop_path
from trainable.engine.applied_config import PROBES
from trainable.model.losses import ClassCounts, build_loss
from trainable.model.optim import build_optimizer
from trainable.model.schedules import build_schedule
from trainable.model.segmenter import check_model
from trainable.pipeline.augmentation import build_augmentation
from trainable.pipeline.mixing import build_mixing, find_others
from trainable.pipeline.oversampling import build_draws

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))
MODELS = (
    ("unetplusplus", "resnet18"), ("unetplusplus", "mobilenet_v2"), ("unet", "resnet18"), ("unet", "mit_b0"),
    ("deeplabv3plus", "resnet18"), ("deeplabv3plus", "mobilenet_v2"), ("deeplabv3plus", "mit_b0"), ("pan", "resnet18"),
    ("fpn", "resnet18"), ("pspnet", "resnet18"), ("upernet", "resnet18"), ("segformer", "mit_b0"),
    ("manet", "resnet18"),
)  # fmt: skip
SCOPE = Scope(models=MODELS, image_sizes=(32, 64))
NAMES = [*SPACES, "losses+optimizers+oversampling", JOINT]


@pytest.fixture(scope="module", params=NAMES)
def space(request):
    return find_space(request.param, SCOPE)


def sampled(space, count=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(count):
        trial = study.ask()
        yield trial, space.sample(trial)


def leaves(part, path=()):
    """Yield the path and value of everything a config decides; members of a list go by their name."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from leaves(value, (*path, key))
    elif isinstance(part, list) and part and isinstance(part[0], dict):
        for each in part:
            yield from leaves(each, (*path, each["name"]))
    else:
        yield path, part


def test_200_configs_build_and_take_a_step(space, tiny_cache):
    torch.manual_seed(0)
    positions = np.arange(20)
    masks = np.zeros((20, 32, 32), np.uint8)
    masks[:, 4:7, 4:7] = np.arange(20)[:, None, None] % 10 + 1  # 0.9% of the photo: every range has it
    cache = replace(tiny_cache, masks=masks, images=np.array(tiny_cache.images))
    for _, parts in sampled(space):
        config = TrialConfig.from_dict(parts)
        draws = build_draws(config.oversampling, cache, positions)
        mixing = build_mixing(config.mixing)
        others = find_others(cache, positions, mixing)
        rng = np.random.default_rng(0)
        position, _ = draws.epoch(rng)[0]
        image, mask = cache.images[position], cache.masks[position]
        for mix in mixing:
            image, mask = mix(image, mask, others, rng)
        out = build_augmentation(config.augmentation, config.operations, (32, 32))(image=image, mask=mask)
        photo = torch.from_numpy(out["image"]).permute(2, 0, 1)[None] / 255
        target = torch.from_numpy(out["mask"])[None].long()

        network = torch.nn.ModuleDict({"encoder": torch.nn.Conv2d(3, 4, 1), "head": torch.nn.Conv2d(4, 11, 1)})
        before = network["head"].weight.detach().clone()
        optimizer = build_optimizer(config.optimizer, network, config.encoder_lr_factor)
        schedule = build_schedule(config.scheduler, config.epochs)
        assert all(0 < schedule(spent, ()) <= 1 for spent in PROBES)
        loss = build_loss(config.loss, COUNTS)(network["head"](network["encoder"](photo)), target)
        loss.backward()
        optimizer.step()
        assert math.isfinite(loss.item())
        if (target != 255).any():
            assert not torch.equal(network["head"].weight, before)


def test_constants_and_sampled_names_are_disjoint(space):
    """A value is either sampled or constant, wherever it appears: a constant never stands in for a sampled one."""
    kinds = {}
    for trial, parts in sampled(space):
        values = [repr(value) for value in trial.params.values()]
        for path, value in leaves(parts):
            if path[-1] == "name" or value == []:
                continue
            derived = path[0] == "decoder" and isinstance(value, list)  # its width is sampled
            kinds.setdefault((path, part_name(parts, path)), set()).add(derived or repr(value) in values)
    assert all(len(found) == 1 for found in kinds.values()), {key for key, found in kinds.items() if len(found) > 1}


def part_name(parts, path):
    part = parts[path[0]]
    return part.get("name") if isinstance(part, dict) else None


def test_every_sampled_value_reaches_the_config(space):
    for trial, parts in sampled(space):
        found = {repr(value) for _, value in leaves(parts)}
        for name, value in trial.params.items():
            if name == "decoder_width":
                assert parts["decoder"]["decoder_channels"][0] == value
            elif isinstance(value, bool) and name != "radam_decoupled":
                present = {each["name"] for each in (*parts["operations"], *parts["mixing"])}
                assert (name in present) == value
            else:
                assert repr(value) in found, (name, value)


def test_first_trials_are_points_of_the_space(space):
    study = optuna.create_study()
    for params in space.first_trials:
        study.enqueue_trial(params)
        trial = study.ask()
        TrialConfig.from_dict(space.sample(trial))
        assert trial.params == params


@pytest.mark.parametrize("name", SPACES)
def test_reference_recipe_comes_first_and_the_recorded_winner_is_tried(name):
    references = {
        "encoders": {"architecture": "unetplusplus"},
        "losses": {"loss": "cross_entropy", "label_smoothing": 0.0, "lr": 1e-4},
        "optimizers": {"optimizer": "adam", "adam_lr": 1e-4},
        "schedulers": {"scheduler": "cosine_restarts"},
        "oversampling": {"oversampling": "paste", "rare_classes": 1},
        "augmentations": {"augmentation": "reference", "elastic": False},
    }
    space = find_space(name, Scope(models=tuple(pairs("light")), image_sizes=(32,)))
    assert references[name].items() <= space.first_trials[0].items()
    modules = {
        "encoders": encoders,
        "losses": losses,
        "optimizers": optimizers,
        "schedulers": schedulers,
        "oversampling": oversampling,
        "augmentations": augmentations,
    }
    recorded = dict(modules[name].BEST)
    if name == "encoders":
        recorded.pop("encoder")
    assert any(recorded.items() <= params.items() for params in space.first_trials)


def test_joint_starts_with_all_references_and_has_all_winners():
    space = find_space(JOINT, SCOPE)
    first = space.first_trials[0]
    assert {"loss": "cross_entropy", "optimizer": "adam", "scheduler": "cosine_restarts"}.items() <= first.items()
    winners = {}
    for module in (losses, optimizers, schedulers, oversampling, augmentations):
        winners |= {name: value for name, value in module.BEST.items() if name != "lr"}
    assert any(winners.items() <= params.items() for params in space.first_trials)


def test_learning_rate_is_sampled_once_and_only_where_no_space_has_the_optimizer():
    for name, has in (("losses", True), ("losses+schedulers", True), ("losses+optimizers", False), (JOINT, False)):
        trial, parts = next(sampled(find_space(name, SCOPE)))
        assert ("lr" in trial.params) == has
        assert parts["optimizer"]["lr"] > 0


def test_encoders_share_a_name_where_the_architecture_takes_all():
    space = find_space("encoders", Scope(models=(("unet", "a"), ("unet", "b"), ("dpt", "b"))))
    names = {name for trial, _ in sampled(space, 30) for name in trial.params if "encoder" in name}
    assert names == {"encoder", "dpt_encoder"}
    assert all((p["architecture"], p["encoder"]) != ("dpt", "a") for _, p in sampled(space, 30))


def test_space_without_the_reference_architectures_begins_with_another():
    space = find_space("encoders+losses", Scope(models=(("pspnet", "resnet18"),)))
    assert space.first_trials[0]["architecture"] == "pspnet"


def test_groups_follow_the_device_and_name_real_encoders():
    assert {memory: group_for(memory) for memory in (None, 8, 16, 24, 32, 40, 80)} == {
        None: "light", 8: "light", 16: "medium", 24: "medium", 32: "large", 40: "huge", 80: "huge",
    }  # fmt: skip
    assert not set(GROUPS["light"]) & set(GROUPS["medium"])
    for encoder in ("mobilenet_v2", "tu-tf_efficientnet_b0.ns_jft_in1k", "tu-convnext_atto"):
        check_model(replace(TrialConfig(image_size=64), architecture="unet", encoder=encoder))


def test_groups_and_encoders_are_named_together():
    named = pairs("light,mit_b2,tu-convnext_tiny.dinov3_lvd1689m")
    assert [encoder for architecture, encoder in named if architecture == "upernet"] == [
        *GROUPS["light"], "mit_b2", "tu-convnext_tiny.dinov3_lvd1689m",
    ]  # fmt: skip
    for name, text in (("ligth", "did you mean 'light'"), ("mit_b9", "did you mean 'mit_b"), ("light,", "'';")):
        with pytest.raises(ValueError, match=f"unknown encoder or group of encoders .*{text}.*light, medium, large, h"):
            pairs(name)


def test_what_is_said_of_licences_is_what_the_publishers_say():
    free = ("mit", "apache-2.0", "bsd-3-clause")
    for encoder in {name for group in GROUPS.values() for name in group} | set(NOT_FREE):
        if encoder.startswith("tu-"):
            published = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
            assert published is not None and published.hf_hub_id, encoder  # its weights can be downloaded
            assert (published.license in free) == (not licence(encoder)), encoder
        assert bool(licence(encoder)) == (encoder in NOT_FREE), encoder


def test_transformers_choose_from_lower_rates_and_spare_their_first_layers():
    models = (("upernet", "resnet18"), ("upernet", "tu-swin_tiny_patch4_window7_224"), ("upernet", "mit_b0"))
    scope = Scope(models=models, image_sizes=(64,))
    rates = {}
    for name in ("encoders", "encoders+losses", "losses+encoders+optimizers", JOINT):
        for trial, parts in sampled(find_space(name, scope), 100):
            transformer = is_transformer(parts["encoder"])
            rates.setdefault(transformer, []).append(parts["optimizer"]["lr"])
            assert ("layer_decay" in parts) == transformer
            assert ("drop_path" in parts) == takes_drop_path(parts["encoder"])
            assert any(parameter.startswith("transformer_") for parameter in trial.params) == transformer
    assert max(rates[True]) <= 5e-3 < 5e-2 <= max(rates[False])  # of SGD
    for other in (replace(scope, pretrained=False), replace(scope, by_kind=False)):
        for trial, parts in sampled(find_space(JOINT, other), 50):
            assert not {"layer_decay", "drop_path"} & parts.keys()
            assert not any(parameter.startswith("transformer_") for parameter in trial.params)


def test_an_encoder_that_is_given_decides_on_the_rates_too():
    swin = Scope(encoder="tu-swin_tiny_patch4_window7_224")
    trial, parts = next(sampled(find_space("losses", swin)))
    assert 5e-6 <= parts["optimizer"]["lr"] == trial.params["transformer_lr"] <= 5e-4
    assert parts["optimizer"]["weight_decay"] == 0.05
    trial, _ = next(sampled(find_space("losses", replace(swin, encoder="resnet18"))))
    assert trial.params["lr"] >= 1e-4


GPU = Scope(models=tuple(pairs("huge")), image_sizes=(512, 384, 640, 768), gpu=True, batch_sizes=(8, 4, 16))


def test_a_search_on_gpus_begins_with_the_reference_and_with_what_won_in_public():
    first = find_space(JOINT, GPU).first_trials
    assert {
        "architecture": "unetplusplus", "encoder": "efficientnet-b5", "loss": "focal", "optimizer": "adam",
        "adam_lr": 1e-4, "scheduler": "cosine_restarts", "oversampling": "paste", "image_size": 512,
    }.items() <= first[0].items()  # fmt: skip
    assert {
        "architecture": "upernet", "encoder": "tu-convnext_xlarge.fb_in22k", "transformer_adamw_lr": 8e-5,
        "layer_decay": 0.9, "drop_path": 0.4, "weight_decay": 0.05, "image_size": 640, "batch_size": 8,
    }.items() <= first[1].items()  # fmt: skip
    assert [params["encoder"].split("_")[0] for params in first[2:5]] == ["tu-swin", "tu-beit", "tu-eva02"]
    for module in (losses, optimizers, schedulers, oversampling, augmentations):  # a CPU's are the CPU's
        assert not any(module.BEST.items() <= params.items() for params in first)


@pytest.mark.parametrize("name", [*SPACES, "losses+optimizers", JOINT])
@pytest.mark.parametrize("group", ["light", "medium", "large", "huge"])
def test_first_trials_on_gpus_are_points_of_the_space(name, group):
    space, study = find_space(name, replace(GPU, models=tuple(pairs(group)))), optuna.create_study()
    for params in space.first_trials:
        study.enqueue_trial(params)
        trial = study.ask()
        TrialConfig.from_dict(space.sample(trial))
        assert trial.params == params


def test_recipes_for_another_kind_of_encoder_are_none_of_a_given_one():
    resnet, swin = (
        find_space("losses", Scope(encoder=encoder, gpu=True)).first_trials
        for encoder in ("resnet18", "tu-swin_tiny_patch4_window7_224")
    )
    assert resnet[0] == {"loss": "focal", "focal_gamma": 2.0, "lr": 1e-4}
    assert swin[0] == {"loss": "cross_entropy", "label_smoothing": 0.0, "transformer_lr": 8e-5}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loses", "unknown space 'loses', did you mean 'losses'; the spaces are: encoders, .*, joint, none; join"),
        ("losses+", "has a . without a space beside it: write it as losses.optimizers"),
        ("losses+losses", "names a space twice"),
    ],
)
def test_unknown_spaces_are_told(name, text):
    with pytest.raises(ValueError, match=text):
        space_names(name)


def test_encoders_without_a_model_are_refused():
    with pytest.raises(ValueError, match="no pair of architecture and encoder is left"):
        find_space("losses+encoders", Scope())


def test_without_a_space_nothing_varies():
    space = find_space("none", SCOPE)
    assert space.first_trials == ()
    assert [(trial.params, config) for trial, config in sampled(space, 2)] == [({}, {})] * 2
    with pytest.raises(ValueError, match="none is no space: use it alone"):
        find_space("none+losses", SCOPE)
