"""No hyperparameter of a live object can change without the attestation telling it, defaults included."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainable.config_names import GIVEN
from trainable.dataset.class_counts import class_counts
from trainable.engine.applied_config import Attestation, ConfigNotAppliedError
from trainable.engine.fold_training import FoldTraining
from trainable.engine.readback import IMPLEMENTATION, OURS, optimizer_findings, settings, settings_findings, unlisted
from trainable.engine.train_step import Stepper
from trainable.model.losses import LOSSES, SCHEMES, ClassCounts, build_loss
from trainable.model.optim import OPTIMIZERS, build_optimizer
from trainable.model.schedules import SCHEDULES, build_schedule
from trainable.pipeline.augmentation import AUGMENTATIONS, OPERATIONS, build_augmentation
from trainable.pipeline.mixing import MIXING, RESIZES, build_mixing, find_others
from trainable.pipeline.oversampling import BACKGROUNDS, OVERSAMPLING, build_draws

COUNTS = ClassCounts(torch.tensor([9000, 500, 500, 0, *[100] * 7]), torch.tensor([20, 10, 2, 0, *[4] * 7]))
WORDS = {"scheme": tuple(SCHEMES), "backgrounds": BACKGROUNDS, "resize": RESIZES}
"""Choices of words, by parameter."""


def differing(findings):
    plain = [(name, *(tuple(each) if isinstance(each, list) else each for each in both)) for name, *both in findings]
    return [name for name, asked, found in plain if asked != found]


def other(name, value):
    """Return another value that a parameter may have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(each for each in WORDS[name] if each != value)
    if name == "multiplier":
        return 1.5
    return value + 1 if isinstance(value, int) else value * 0.8 if value else 0.1


def parameters(builder):
    """Return what a config can set of a builder, with the defaults."""
    found = inspect.signature(builder).parameters
    empty = inspect.Parameter.empty
    return {name: each.default for name, each in found.items() if each.default is not empty and name not in GIVEN}


def model():
    return nn.ModuleDict({"encoder": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "head": nn.Conv2d(4, 2, 1)})


def changed(value):
    """Return another value of the same kind, whatever it means."""
    if value is None:
        return 1.0
    if isinstance(value, tuple):
        return (value[0] * 0.9, *value[1:])
    if isinstance(value, list):
        return [value[0] * 0.9, *value[1:]]
    if isinstance(value, str):
        return "another"
    return not value if isinstance(value, bool) else value * 2 if value else 0.1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_hyperparameter_of_an_optimizer_is_compared(name):
    choice = {"name": name}
    assert differing(optimizer_findings(choice, build_optimizer(choice, model(), 0.5), 0.5)) == []
    clean = build_optimizer(choice, model())
    counted = {"lookahead_step"}
    for place, keys in (("groups", clean.param_groups[-1]), ("defaults", clean.defaults)):
        for key in sorted(keys.keys() - {*OURS, *IMPLEMENTATION} - counted):
            live = build_optimizer(choice, model())
            values = live.param_groups[-1] if place == "groups" else live.defaults
            values[key] = changed(values[key])
            assert differing(optimizer_findings(choice, live)), (place, key)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_attribute_of_an_optimizer_is_known(name):
    """A hyperparameter that a library's upgrade brings fails here: it is to be given in `optim.FIXED`."""
    live = build_optimizer({"name": name}, model())
    assert unlisted({"name": name}, live) == set()
    public = {key for key in vars(live) if not key.startswith("_")}
    assert public <= {"defaults", "state", "param_groups", "inner", "slow"}
    live.param_groups[0]["novel"] = 1.0
    assert unlisted({"name": name}, live) == {"novel"}


def leaf_places(live):
    """Yield, for each setting of a function or module, what changes it there."""
    if inspect.isfunction(live):
        for cell in live.__closure__ or ():
            inner = cell.cell_contents
            if isinstance(inner, torch.Tensor):
                yield lambda cell=cell, inner=inner: setattr(cell, "cell_contents", inner * 0.9)
            elif inspect.isfunction(inner) or isinstance(inner, nn.Module):
                yield from leaf_places(inner)
            else:
                yield lambda cell=cell, inner=inner: setattr(cell, "cell_contents", changed(inner))
    else:
        for name, value in list(vars(live).items()):
            if not name.startswith("_") and name != "training":
                yield lambda name=name, value=value: setattr(live, name, changed(value))


def built(kind, choice):
    return build_loss(choice, COUNTS) if kind == "loss" else build_schedule(choice, 20)


EVERY = [("loss", name) for name in LOSSES] + [("scheduler", name) for name in SCHEDULES]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_setting_of_a_loss_or_schedule_is_compared(kind, name):
    choice = {"name": name, **parameters((LOSSES if kind == "loss" else SCHEDULES)[name])}
    asked, count = built(kind, choice), len(list(leaf_places(built(kind, choice))))
    assert count == len(settings(asked))
    assert differing(settings_findings(kind, choice, asked, built(kind, choice))) == []
    for place in range(count):
        live = built(kind, choice)
        list(leaf_places(live))[place]()
        assert len(differing(settings_findings(kind, choice, asked, live))) == 1, place


SMP = {"mode": "multiclass", "classes": None, "from_logits": True, "smooth": 0.0, "eps": 1e-7, "log_loss": False,
       "ignore_index": 255, "class_weights": None, "reduction": "mean", "per_image": False}  # fmt: skip
MADE = {"weights", "wait"}
"""Settings that a builder works out of the config's: of a scheme, and of patience."""


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_setting_is_one_of_the_config_or_known(kind, name):
    said = parameters((LOSSES if kind == "loss" else SCHEDULES)[name])
    if name == "tversky":
        said["gamma"] = 1.0
    if name in ("ce_dice", "ce_lovasz"):
        said["label_smoothing"] = 0.0
    for path, value in settings(built(kind, {"name": name})).items():
        key = path.rpartition(".")[2]
        assert key in MADE or {**SMP, **said}[key] == value, path


BUILDERS = {"loss": LOSSES, "optimizer": OPTIMIZERS, "scheduler": SCHEDULES, "oversampling": OVERSAMPLING,
            "augmentation": AUGMENTATIONS, "operations": OPERATIONS, "mixing": MIXING}  # fmt: skip


def put(training, key, config):
    """Make one part of a training that of a config."""
    data, photos = training.data, training.photos
    if key == "loss":
        training.loss = training.stepper.loss = build_loss(config.loss, class_counts(data))
    elif key == "optimizer":
        training.optimizer = build_optimizer(config.optimizer, training.model)
        training.stepper = Stepper(training.config, training.model, training.loss, training.optimizer)
    elif key == "scheduler":
        training.schedule = build_schedule(config.scheduler, config.epochs)
    elif key == "oversampling":
        photos.draws = training.sampler.draws = build_draws(config.oversampling, data.cache, data.train)
    elif key == "mixing":
        photos.mixing = build_mixing(config.mixing)
        photos.others = find_others(data.cache, data.train, photos.mixing)
    else:
        photos.augmentation = build_augmentation(config.augmentation, config.operations, config.input_shape)


ALIKE = {"min_area", "max_area", "backgrounds"}
"""Of paste: all patches of these photos have one area, and all photos are plain, so that the draws are the same."""


def test_every_parameter_that_a_config_can_set_is_attested(tiny_config, tiny_data):
    config, unnoticed, before = replace(tiny_config, epochs=20), [], None
    for key, name in [(key, name) for key, builders in BUILDERS.items() for name in builders]:
        if key != before:
            training, before = FoldTraining(config, tiny_data), key
            attestation = Attestation(training, config)
        plain = {each: value for each, value in parameters(BUILDERS[key][name]).items() if each not in ALIKE}
        configs = {}
        for parameter in (None, *plain):
            values = plain | ({parameter: other(parameter, plain[parameter])} if parameter else {})
            choice = [{"name": name, **values}] if key in ("operations", "mixing") else {"name": name, **values}
            configs[parameter] = replace(config, **{key: choice})
        attestation.config = configs.pop(None)
        for cached in ("_spelled", "_schedule", "_asked_loss", "_asked_draws", "_asked_steps"):
            vars(attestation).pop(cached, None)  # but the network
        put(training, key, attestation.config)
        attestation.check()
        for parameter, different in configs.items():
            put(training, key, different)
            try:
                attestation.check()
                unnoticed.append((key, name, parameter))
            except ConfigNotAppliedError:
                continue
    assert unnoticed == []
