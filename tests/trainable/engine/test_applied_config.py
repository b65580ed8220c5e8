"""A training that is not what its config says is found, whichever part of its set-up is sabotaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainable.engine import fold_training as module
from trainable.engine.applied_config import Attestation, ConfigNotAppliedError
from trainable.engine.fold_training import FoldTraining
from trainable.fold import train_fold
from trainable.model.weight_averaging import MovingAverage
from trainable.pipeline.mixing import find_others
from trainable.run_folder.folders import TrialFolder


@pytest.fixture
def rich_config(tiny_config):
    """Everything set to something else than its default."""
    return replace(
        tiny_config,
        epochs=4,
        loss={"name": "focal", "gamma": 1.5},
        optimizer={"name": "lookahead_radam", "lr": 3e-4, "weight_decay": 0.05, "alpha": 0.6},
        encoder_lr_factor=0.5,
        clip_norm=2.0,
        ema_decay=0.9,
        freeze_share=0.25,
        scheduler={"name": "cosine_restarts", "first_cycle": 0.5, "warmup": 0.2},
        augmentation={"name": "light"},
        oversampling={"name": "class_balanced", "ratio": 0.5},
        operations=[{"name": "blur", "p": 0.4, "sigma": 1.0}],
        mixing=[{"name": "mosaic", "p": 0.5}, {"name": "copy_paste", "p": 0.5}],
    )


def attested(config, data):
    training = FoldTraining(config, data)
    attestation = Attestation(training, config)
    attestation.check()
    training.epoch(1, [])
    steps = len(training.loader)
    return attestation.check(1, (steps - 1) / steps)


def test_honest_trainings_pass_and_tell_what_was_found(rich_config, tiny_config, tiny_data):
    attested(tiny_config, tiny_data)
    found = attested(rich_config, tiny_data)
    assert found["optimizer"] == "Lookahead of RAdam"
    assert found["encoder frozen"] == "True"
    assert found["every"] == "6"
    assert float(found["encoder lr"]) == pytest.approx(float(found["lr"]) / 2, rel=1e-3)


def with_change(name, change):
    """Sabotage a builder: what it returns is changed."""

    def sabotage(monkeypatch):
        build = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **more: change(build(*given, **more)))

    return sabotage


def with_choice(name, choice):
    """Sabotage a builder: it is handed another choice."""

    def sabotage(monkeypatch):
        build = getattr(module, name)
        monkeypatch.setattr(module, name, lambda first, *given, **more: build(choice, *given, **more))

    return sabotage


def in_groups(**values):
    def change(optimizer):
        for group in optimizer.param_groups:
            group.update(values)
        return optimizer

    return with_change("build_optimizer", change)


def stepper(**values):
    def change(made):
        for name, value in values.items():
            setattr(made, name, value)
        return made

    return with_change("Stepper", change)


def other_model(monkeypatch):
    build = module.build_model
    wider = {"decoder": {"decoder_channels": [24, 16, 16, 8, 8]}}
    monkeypatch.setattr(module, "build_model", lambda config, **how: build(replace(config, **wider), **how))


LINKNET = {"architecture": "linknet", "decoder": {}}


def other_architecture(monkeypatch):
    build = module.build_model
    monkeypatch.setattr(module, "build_model", lambda config, **how: build(replace(config, **LINKNET), **how))


def other_batch(monkeypatch):
    make = module.training_batches
    monkeypatch.setattr(module, "training_batches", lambda photos, **more: make(photos, **{**more, "batch_size": 4}))


def all_photos(monkeypatch):
    build = module.build_draws
    monkeypatch.setattr(module, "build_draws", lambda choice, cache, _: build(choice, cache, np.arange(20)))


def leaking_mix(monkeypatch):
    make = module.TrainingPhotos

    def photos(cache, draws, mixing, *more):
        made = make(cache, draws, mixing, *more)
        made.others = find_others(cache, np.arange(20), mixing)
        return made

    monkeypatch.setattr(module, "TrainingPhotos", photos)


def other_dropout(monkeypatch):
    build = module.build_model

    def changed(config, **how):
        model = build(config, **how)
        parent = model.network.decoder.blocks[0].conv1
        parent[-1] = torch.nn.Dropout(0.3)  # no weights, no other shapes
        return model

    monkeypatch.setattr(module, "build_model", changed)


def no_decay_exception(optimizer):
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.05
    return optimizer


def other_decay(made):
    made.ema.decay = 0.99
    return made


def not_flat(draws):
    return replace(draws, weights=np.roll(draws.weights, 1))


@pytest.mark.parametrize(
    ("sabotage", "text"),
    [
        (in_groups(lr=1e-4), r"lr \(asked 0.0003, found 0.0001\)"),
        (in_groups(weight_decay=0.0), r"weight decay \(asked 0.05, found 0\)"),
        (with_change("build_optimizer", no_decay_exception), r"norm and bias weight decay \(asked 0, found 0.05\)"),
        (in_groups(lookahead_alpha=0.5), r"alpha \(asked 0.6, found 0.5\)"),
        (with_choice("build_optimizer", {"name": "lookahead_adamw", "lr": 3e-4, "weight_decay": 0.05, "alpha": 0.6}),
         r"optimizer \(asked Lookahead of RAdam, found Lookahead of AdamW\)"),
        (with_choice("build_loss", {"name": "focal", "gamma": 2.0}), r"loss focal on a probe \(asked"),
        (with_choice("build_schedule", {"name": "cosine"}), r"scheduler cosine_restarts \(asked"),
        (with_choice("build_augmentation", {"name": "reference"}), r"augmentation step 2 \(asked .*Brightness"),
        (with_choice("build_mixing", []), r"mixing \(asked \[Mosaic\(p=0.5, spread=0.2\), CopyPaste"),
        (with_choice("build_draws", {"name": "none"}), r"oversampling ratio \(asked 0.5, found 0\)"),
        (with_change("build_draws", not_flat), r"sampler weights \(asked"),
        (all_photos, r"training photos \(asked 15 with"),
        (other_model, r"shapes of tu-test_resnet and its decoder \(asked \[\], found \[decoder"),
        (other_architecture, r"architecture \(asked Unet, found Linknet\)"),
        (stepper(clip_norm=0.0), r"clip_norm \(asked 2, found 0\)"),
        (stepper(ema=None), r"ema_decay \(asked 0.9, found 0\).*validated \(asked moving average, found slow\)"),
        (stepper(ema=None, slow=None), r"weights that are validated \(asked moving average, found own\)"),
        (with_change("Stepper", other_decay), r"ema_decay \(asked 0.9, found 0.99\)"),
        (stepper(dtype=torch.bfloat16), r"precision \(asked torch.float32, found torch.bfloat16\)"),
        (with_change("build_model", lambda model: model.to(memory_format=torch.contiguous_format)),
         r"memory_format \(asked channels_last, found another\)"),
        (with_change("settle", lambda config: replace(config, optimizer={**config.optimizer, "lr": 1e-7})),
         r"lr \(asked 0.0003, found 1e-07\)"),
        (leaking_mix, r"photos to mix in \(asked 15 with .*, patches of photos that do not train \(asked 0, found 5\)"),
        (other_dropout, r"layers \(asked \[.*ReLU"),
        (other_batch, r"batch_size \(asked 5, found 4\)"),
    ],
)  # fmt: skip
def test_sabotaged_set_up_is_found(rich_config, tiny_data, monkeypatch, sabotage, text):
    sabotage(monkeypatch)
    with pytest.raises(ConfigNotAppliedError, match=f"^config not applied: .*{text}"):
        Attestation(FoldTraining(rich_config, tiny_data), rich_config).check()


@pytest.mark.parametrize(
    ("name", "broken", "text"),
    [
        ("lr_factor", lambda self, *_: 0.5, r"lr \(asked"),
        ("_train", lambda self, epoch, val_mious, folder: (0.0, 1, 0.0), "lr|encoder frozen"),
    ],
)
def test_first_epoch_that_goes_another_way_is_found(rich_config, tiny_data, monkeypatch, name, broken, text):
    monkeypatch.setattr(FoldTraining, name, broken)
    with pytest.raises(ConfigNotAppliedError, match=text):
        attested(rich_config, tiny_data)


def test_average_that_is_not_of_the_asked_decay_is_found(tiny_config, tiny_data, monkeypatch):
    """As timm's, whose decay grows with the steps and which once was attested as 0.99."""
    monkeypatch.setattr(MovingAverage, "share", lambda self, steps: (1 + steps) ** (-2 / 3))
    text = r"share of the last step in the moving average \(asked 0.336.*, found 0.39"
    with pytest.raises(ConfigNotAppliedError, match=text):
        attested(replace(tiny_config, ema_decay=0.99), tiny_data)


def test_encoder_that_is_not_frozen_is_found(rich_config, tiny_data, monkeypatch):
    monkeypatch.setattr("trainable.engine.train_step.Stepper.freeze_encoder", lambda self, frozen: self.model.train())
    with pytest.raises(ConfigNotAppliedError, match=r"encoder frozen \(asked True, found False\)"):
        attested(rich_config, tiny_data)


def test_encoder_weights_that_were_not_loaded_are_found(tiny_config, tiny_data, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    from trainable.model.segmenter import build_model

    torch.manual_seed(1)
    weights = build_model(tiny_config).network.encoder.state_dict()
    save_file({name: each.contiguous() for name, each in weights.items()}, tmp_path / "tu-test_resnet.safetensors")
    config = replace(tiny_config, encoder_weights=str(tmp_path))
    Attestation(FoldTraining(config, tiny_data), config).check()
    monkeypatch.setattr(module, "build_model", lambda given, **_: build_model(given, load_encoder=False))
    with pytest.raises(ConfigNotAppliedError, match=r"encoder weights .*weight \(asked"):
        Attestation(FoldTraining(config, tiny_data), config).check()


def test_invalid_trial_ends_before_its_first_report(tiny_config, tiny_data, tmp_path, monkeypatch):
    in_groups(lr=1e-9)(monkeypatch)
    with pytest.raises(ConfigNotAppliedError, match=r"lr \(asked 0.002, found 1e-09\)"):
        train_fold(tiny_config, tiny_data, TrialFolder(tmp_path / "0000"), lambda row: pytest.fail("reported"))
