import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.prediction.networks import load_model, predict_classes
from tests.conftest import SIDE
from trainable.classes import CLASSES
from trainable.config import TrialConfig
from trainable.engine.fold_training import DivergedError, FoldTraining
from trainable.engine.halting import HaltedError
from trainable.fold import _check_same, main, train_fold
from trainable.metric.confusion import confusion_matrices, mean_iou
from trainable.model import losses
from trainable.run_folder.folders import TrialFolder
from trainable.storage.atomic_write import write_json

TIMES = ("images_per_s", "train_s", "data_s", "val_s", "peak_memory_mb")


def run(config, data, folder, resume=False, stop_after=None):
    """Train and return the rows without what depends on the clock."""
    rows = []

    def report(row):
        rows.append({name: value for name, value in row.items() if name not in TIMES})
        if row["epoch"] == stop_after:
            raise KeyboardInterrupt

    try:
        train_fold(config, data, TrialFolder(folder), report, resume)
    except KeyboardInterrupt:
        assert stop_after
    return [{name: repr(value) for name, value in row.items()} for row in rows]  # repr: NaN equals NaN


def test_writes_what_a_reader_needs(tiny_config, tiny_data, tmp_path):
    rows = run(tiny_config, tiny_data, tmp_path / "0000")
    folder = TrialFolder(tmp_path / "0000")
    assert len(rows) == len(folder.curve()) == 3
    assert TrialConfig.from_dict(folder.config()) == tiny_config
    curve = folder.curve()
    assert {f"iou_{name}" for name in CLASSES} < set(curve[0])
    best = max(curve, key=lambda row: row["val_miou"])
    confusion = folder.confusion()
    assert confusion["scored"].shape == (len(tiny_data.val), 11, 11)
    assert confusion["scored"].sum() == len(tiny_data.val) * 256 * 256
    assert mean_iou(torch.from_numpy(confusion["scored"]).sum(0)) == best["val_miou"]
    assert mean_iou(torch.from_numpy(confusion["full"]).sum(0)) == best["val_miou_full"]


def test_best_weights_predict_what_the_confusion_matrices_count(tiny_config, tiny_data, tmp_path):
    run(tiny_config, tiny_data, tmp_path / "0000")
    folder = TrialFolder(tmp_path / "0000")
    classes = predict_classes(load_model(folder), tiny_data.cache.images[tiny_data.val])
    masks = torch.from_numpy(tiny_data.cache.masks[tiny_data.val])
    np.testing.assert_array_equal(confusion_matrices(masks, torch.from_numpy(classes), 11), folder.confusion()["full"])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"precision": "bf16"},
        {"optimizer": {"name": "radam", "lr": 1e-3}},
        {"workers": 1},
        {"workers": 1, "architecture": "deeplabv3plus", "decoder": {}, "image_size": SIDE},  # with dropout
        {"optimizer": {"name": "lookahead_adamw", "lr": 1e-3}, "ema_decay": 0.9, "clip_norm": 1.0, "freeze_share": 0.3},
        {"optimizer": {"name": "lamb", "lr": 1e-2}, "encoder_lr_factor": 0.1, "accumulation": 2},
        {"scheduler": {"name": "plateau", "patience": 0.3}, "mixing": [{"name": "mosaic"}, {"name": "copy_paste"}],
         "oversampling": {"name": "class_balanced"}, "operations": [{"name": "elastic"}]},
    ],
)  # fmt: skip
def test_resumed_curve_is_the_same_to_the_bit(tiny_config, tiny_data, tmp_path, change):
    config = replace(tiny_config, **change)
    straight = run(config, tiny_data, tmp_path / "0000")
    cut = run(config, tiny_data, tmp_path / "0001", stop_after=1)
    rest = run(config, tiny_data, tmp_path / "0001", resume=True)
    assert rest[0] == cut[0]  # reported again
    assert cut + rest[1:] == straight
    assert (tmp_path / "0001" / "best.safetensors").read_bytes() == (
        tmp_path / "0000" / "best.safetensors"
    ).read_bytes()


def test_seed_decides_the_curve(tiny_config, tiny_data, tmp_path):
    config = replace(tiny_config, epochs=1)
    first, again = (run(config, tiny_data, tmp_path / name) for name in ("0000", "0001"))
    assert first == again
    assert run(replace(config, seed=1), tiny_data, tmp_path / "0002") != first


def test_learns_the_squares(tiny_config, tiny_data, tmp_path):
    config = replace(tiny_config, epochs=25, augmentation={"name": "none"}, optimizer={"name": "adamw", "lr": 3e-3})
    train_fold(config, replace(tiny_data, val=tiny_data.train), TrialFolder(tmp_path / "0000"), lambda row: None)
    assert max(row["val_miou"] for row in TrialFolder(tmp_path / "0000").curve()) > 0.15  # background alone: 0.07


def test_learning_rate_follows_the_full_budget(tiny_config, tiny_data, tmp_path):
    config = replace(tiny_config, scheduler={"name": "cosine", "warmup": 0.0, "floor": 0.0})
    run(config, tiny_data, tmp_path / "0000")
    steps, peak = len(tiny_data.train) // 5, config.optimizer["lr"]
    for row in TrialFolder(tmp_path / "0000").curve():
        spent = (row["epoch"] - 1 + (steps - 1) / steps) / 3
        assert row["lr"] == pytest.approx(peak * (1 + math.cos(math.pi * spent)) / 2)


def test_divergence_is_told_with_epoch_and_rate(tiny_config, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "broken", lambda: lambda logits, target: logits.sum() * math.nan)
    with pytest.raises(DivergedError, match=r"train loss in epoch 1 is nan \(lr 0.002, fp32\)"):
        run(replace(tiny_config, loss={"name": "broken"}), tiny_data, tmp_path / "0000")


def test_what_does_not_fit_is_refused(tiny_config, tiny_data):
    with pytest.raises(ValueError, match="image_size is 64, the cache is at 32 px"):
        FoldTraining(replace(tiny_config, image_size=64), tiny_data)
    with pytest.raises(ValueError, match="0 training and"):
        FoldTraining(tiny_config, replace(tiny_data, train=tiny_data.train[:0]))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="this process sees no GPU"):
            FoldTraining(replace(tiny_config, device="cuda"), tiny_data)


def test_command_line_trains_resumes_and_refuses(tiny_config, photos, tmp_path, capsys):
    write_json(tmp_path / "config.json", tiny_config.to_dict())
    arguments = [
        "--config",
        tmp_path / "config.json",
        "--data",
        photos,
        "--out",
        tmp_path / "out",
        "--cache-dir",
        tmp_path,
    ]
    arguments = [str(argument) for argument in arguments]
    assert main(arguments) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "trial.json").read_text())["state"] == "finished"
    assert main(arguments) == 2
    assert "exists; name another, or go on with it by --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    write_json(tmp_path / "config.json", {**tiny_config.to_dict(), "fold": 1})
    assert main([*arguments, "--resume"]) == 2
    assert "the folder's has fold 0 (asked 1)" in capsys.readouterr().err
    write_json(tmp_path / "config.json", {**tiny_config.to_dict(), "epochss": 3})
    assert main([*arguments, "--resume"]) == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err


def test_command_line_tells_of_divergence_in_one_line(tiny_config, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "broken", lambda: lambda logits, target: logits.sum() * math.nan)
    write_json(tmp_path / "config.json", {**tiny_config.to_dict(), "loss": {"name": "broken"}})
    places = {
        "--config": tmp_path / "config.json",
        "--data": photos,
        "--out": tmp_path / "out",
        "--cache-dir": tmp_path,
    }
    assert main([str(each) for option in places.items() for each in option]) == 2
    assert capsys.readouterr().err.startswith("error: train loss in epoch 1 is nan")
    assert TrialFolder(tmp_path / "out").status().state == "failed"


class HaltAt:
    """Halts a training when it is asked for the so-many-th time."""

    def __init__(self, ask):
        self.left = ask

    def __call__(self):
        self.left -= 1
        return "the node goes away" if self.left == 0 else None


@pytest.mark.parametrize("ask", [1, 2, 3, 5, 6])  # three steps an epoch, and once more at its end
@pytest.mark.parametrize("change", [
    {}, {"workers": 1, "mixing": [{"name": "cutmix"}]}, {"optimizer": {"name": "lookahead_adamw"}, "ema_decay": 0.9},
    {"architecture": "deeplabv3plus", "decoder": {}, "accumulation": 2},
])  # fmt: skip
def test_training_halted_anywhere_goes_on_to_the_same_curve(tiny_config, tiny_data, tmp_path, change, ask):
    config = replace(tiny_config, **change)
    straight = run(config, tiny_data, tmp_path / "0000")
    folder = TrialFolder(tmp_path / "0001")
    with pytest.raises(HaltedError, match="the node goes away: saved in epoch"):
        train_fold(config, tiny_data, folder, lambda row: None, halt=HaltAt(ask))
    assert folder.part_state.exists()
    rest = run(config, tiny_data, folder.path, resume=True)
    assert rest[-len(straight) :] == straight[-len(rest) :]
    assert not folder.part_state.exists()
    assert [repr(row["train_loss"]) for row in folder.curve()] == [row["train_loss"] for row in straight]


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-100]), lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\xff" * 500), lambda path: path.unlink(),
])  # fmt: skip
def test_damaged_newest_state_falls_back_to_the_one_before(tiny_config, tiny_data, tmp_path, damage):
    straight = run(tiny_config, tiny_data, tmp_path / "0000")
    run(tiny_config, tiny_data, tmp_path / "0001", stop_after=2)
    damage(TrialFolder(tmp_path / "0001").last_state)
    rest = run(tiny_config, tiny_data, tmp_path / "0001", resume=True)
    assert rest == straight  # from epoch 1, which is reported once more, not from nothing
    assert [row["epoch"] for row in TrialFolder(tmp_path / "0001").curve()] == [1, 2, 3]


def test_halt_of_a_damaged_part_costs_the_epoch_only(tiny_config, tiny_data, tmp_path):
    straight = run(tiny_config, tiny_data, tmp_path / "0000")
    folder = TrialFolder(tmp_path / "0001")
    with pytest.raises(HaltedError):
        train_fold(tiny_config, tiny_data, folder, lambda row: None, halt=HaltAt(6))
    folder.part_state.write_bytes(folder.part_state.read_bytes()[:1000])
    assert run(tiny_config, tiny_data, folder.path, resume=True) == straight


def test_a_config_of_before_is_the_same_without_what_it_did_not_write(tiny_config):
    stored = {name: value for name, value in tiny_config.to_dict().items() if name not in ("aspect", "num_classes")}
    _check_same(tiny_config.to_dict(), stored)
    with pytest.raises(ValueError, match=r"num_classes 11 \(asked 3\)"):
        _check_same(replace(tiny_config, num_classes=3).to_dict(), stored)
