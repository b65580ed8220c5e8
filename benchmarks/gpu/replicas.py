"""One training over two GPUs against one: how much faster, and how far apart the curves are."""

from dataclasses import replace

import torch

from benchmarks.gpu.setting import GPU, Setting
from benchmarks.gpu.trainings import folder_in
from trainable.engine.fold_training import Row
from trainable.fold import train_fold
from trainable.run_folder.folders import TrialFolder

CURVES = ("train_loss", "val_loss", "val_miou", "val_miou_full")


def replicas(setting: Setting) -> None:
    """Train the same over 1 and 2 GPUs, and once more over 1: its difference is what chance does.

    Nothing draws at random while it trains, neither augmentation nor dropout: each GPU would draw otherwise. A CPU has
    no batch norm that sees the whole batch, so the network of `--tiny` has none.
    """
    if not setting.tiny and torch.cuda.device_count() < 2:
        setting.keep("replicas", skipped="it needs two GPUs")
        return
    train, val = setting.few if setting.tiny else (1280, 160)
    data = setting.fold_data(setting.size, train, val)
    plain = {"augmentation": {"name": "none"}, "epochs": 2 if setting.tiny else 3}
    if setting.tiny:
        config = setting.config(("fpn", "tu-convnext_atto"), decoder={"decoder_dropout": 0.0}, **plain)
    else:
        config = setting.config(("deeplabv3plus", "resnet50"), decoder={"decoder_aspp_dropout": 0.0}, **plain)
    for precision in ("auto", "fp32") if GPU else ("fp32",):
        settled = setting.settle(replace(config, precision=precision))
        alone = list[Row]()
        for way, gpus in (("1", 1), ("1 again", 1), ("2", 2)):
            rows: list[Row] = []
            with folder_in(setting) as folder:
                train_fold(settled, data, TrialFolder(folder / "0000"), rows.append, gpus=gpus)
            alone = alone or rows
            apart = {
                name: max(abs(row[name] - other[name]) for row, other in zip(rows, alone, strict=True))
                for name in CURVES
            }
            setting.keep(
                "replicas",
                model=f"{config.architecture}+{config.encoder}",
                precision=settled.precision,
                gpus=way,
                photos_per_s=rows[-1]["images_per_s"],
                differences_to_the_first=apart,
                largest_difference=max(apart.values()),
            )
