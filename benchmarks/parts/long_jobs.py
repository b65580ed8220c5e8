"""What `benchmarks.long_curves` trains: which configs, with which knobs moved, for which budgets and image sizes."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.encoders import STRIDES
from spaces.parts import Scope
from spaces.table import JOINT, find_space
from trainable.storage.atomic_write import write_bytes

SIZE = 96
"""Pixels per side."""
BUDGETS = (12, 24, 48, 100)
"""Epochs."""
LARGER = (160, 224)
"""Pixels per side, with the shortest budget; the first of them from the state of the short training too."""
CYCLES = (12, 12, 24, 52)
"""Epochs of each cycle that goes on from the one before: together 12, 24, 48 and 100."""
RANKS = (0, 1, 2, 3, 4, 6, 8, 16, 24, 40)
"""Of the 160 configs in curves.parquet, by their best of 9 epochs: those that are trained beside the two below."""
REFERENCE, WINNER = "reference", "winner"
"""The reference recipe, and the best recorded config of `joint`: the first and the last of the space's first trials."""
QUICK, QUICK_SIZE = "curve74", 64
"""The config whose epochs are the shortest, and its pixels per side: its knobs can be moved on a CPU."""
Parts = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training, or one that goes on in cycles."""

    config: str
    cycles: tuple[int, ...]  # epochs
    whole: bool = False  # all own photos train, none validates
    size: int = SIZE  # pixels per side, of the last cycle
    first_size: int = 0  # of the cycles before, 0 for the same

    @property
    def sizes(self) -> list[int]:
        """Return the image size of each cycle."""
        return [self.first_size or self.size] * (len(self.cycles) - 1) + [self.size]

    @property
    def name(self) -> str:
        """Name its files."""
        config = re.sub(r"[^a-z0-9.]+", "_", self.config)
        size = f"-{self.size}px" if self.size != SIZE else ""
        size += f"-from{self.first_size}px" if self.first_size > 0 else ""
        return f"{config}-{'+'.join(map(str, self.cycles))}{'-whole' if self.whole else ''}{size}"

    @property
    def epochs(self) -> int:
        """Count all of them."""
        return sum(self.cycles)


def all_configs(file: Path) -> dict[str, Parts]:
    """Return the parts of each config by name, and keep them: the file alone is enough on a machine without Optuna."""
    if not file.exists():
        write_bytes(file, json.dumps(chosen_configs()).encode())
    configs: dict[str, Parts] = json.loads(file.read_text())
    return configs


def chosen_configs() -> dict[str, Parts]:
    """Return the reference recipe, the recorded winner with its knobs, and configs of curves.parquet."""
    import optuna

    from benchmarks.replay.recorded import read_curves

    curves, drawn, facts = read_curves()
    scope = facts["scope"]
    models = tuple((architecture, encoder) for architecture, encoder in scope["models"])
    space = find_space(JOINT, Scope(models, STRIDES, (SIZE,), epochs=BUDGETS[-1]))
    trials: list[Any] = [optuna.trial.FixedTrial(params) for params in space.first_trials]
    fixed = [space.sample(trial) for trial in trials]
    configs = {REFERENCE: {**fixed[0], "loss": {"name": "focal", "gamma": 2.0}}, WINNER: fixed[-1]}
    first = [curve for curve in curves if not curve.seed and not curve.fold and curve.state == "finished"]
    ranked = sorted(first, key=lambda curve: -float(curve.rows["val_miou"].max()))
    for rank in RANKS:
        number = ranked[rank].number
        configs[f"curve{number}"] = {**drawn[number]["parts"], "image_size": SIZE}
    moved = {f"{base}:{name}": parts for base in (WINNER, QUICK) for name, parts in knobs(configs[base]).items()}
    return configs | moved


def knobs(config: Parts) -> dict[str, Parts]:
    """Return a config with one knob moved, by the knob's name and value."""
    optimizer, paste = config["optimizer"], {"name": "copy_paste", "p": 0.5, "most": 4, "low": 0.5, "high": 1.5}
    crop = {"name": "random_resized_crop", "p": 0.5, "smallest": 0.4}
    moved: dict[str, Parts] = {
        f"lr x {factor:g}": {"optimizer": {**optimizer, "lr": optimizer["lr"] * factor}} for factor in (0.25, 0.5, 2, 4)
    }
    moved |= {f"augmentation {name}": {"augmentation": {"name": name}} for name in ("none", "light", "heavy")}
    decay = "weight_decay" if "weight_decay" in optimizer else "l2"
    moved |= {
        "copy_paste": {"mixing": [{**paste, "resize": "jitter"}]},
        "cutmix": {"mixing": [{"name": "cutmix", "p": 0.4, "area": 0.3}]},
        "crop": {"operations": [*config["operations"], crop]},
        "weight_decay x 30": {"optimizer": {**optimizer, decay: optimizer[decay] * 30}},
        "ema 0.99": {"ema_decay": 0.99},
        "oversampling none": {"oversampling": {"name": "none"}},
        "encoder_lr_factor 0.5": {"encoder_lr_factor": 0.5},
        "scheduler cosine": {"scheduler": {"name": "cosine"}},
        "loss cross_entropy": {"loss": {"name": "cross_entropy"}},
    }
    return {name: {**config, **parts} for name, parts in moved.items() if {**config, **parts} != config}


def all_jobs(names: list[str]) -> list[Job]:
    """Return what is trained, the most telling first."""
    main, moved = [name for name in names if ":" not in name], [name for name in names if name.startswith(f"{WINNER}:")]
    quick = [name for name in names if name.split(":")[0] == QUICK]
    return [
        *(Job(name, (epochs,)) for epochs in sorted(BUDGETS, reverse=True) for name in main),
        *(Job(name, BUDGETS[:1], size=size) for size in LARGER for name in main),
        *(Job(name, (BUDGETS[0], BUDGETS[0]), size=LARGER[0], first_size=SIZE) for name in main),
        *(Job(name, (epochs,)) for epochs in (48, 12) for name in moved),
        *(Job(name, (epochs,), size=QUICK_SIZE) for epochs in (48, 12) for name in quick),
        *(Job(name, CYCLES) for name in main),
        *(Job(name, (48,), whole=True) for name in main),
        *(Job(name, (100,)) for name in moved),
    ]
