"""How often a training exceeds the memory that it was predicted to need, and how many then share a GPU.

python -m benchmarks.memory                 # replays the recorded peaks through `search/cluster/gpu_packing.py`
python -m benchmarks.memory --fit           # PARTS of `search/worker/gpu_memory_model.py`, by every other one
python -m benchmarks.memory --record 160    # on a machine with a GPU: measures random configs anew
"""

import argparse
import itertools
import json
import multiprocessing
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from scipy.optimize import nnls

from search.cluster.gpu_packing import Packing
from search.settings.allocation import TOGETHER
from search.worker.gpu_memory_model import CONTEXT_MB, Need, need_of
from spaces.encoders import GROUPS, STRIDES, pairs
from spaces.parts import Scope
from spaces.table import JOINT, find_space
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.demo import demo_data
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.engine.fold_training import FoldTraining
from trainable.machine.device import release_memory
from trainable.model.activation_memory import footprint
from trainable.model.segmenter import check_model
from trainable.run_folder.folders import RunFolder

FILE = Path(__file__).with_name("memory.json")

SIZES, BATCHES = (128, 192, 256, 384, 512), (2, 4, 8, 16)
PHOTOS, FOLDS = 80, 2
PROCESSES = 6

Row = dict[str, Any]


def sample(configs: int) -> list[TrialConfig]:
    """Return random configs of `joint` that can be built, of all encoder groups, image and batch sizes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    models = tuple(dict.fromkeys(itertools.chain.from_iterable(map(pairs, GROUPS))))
    space, choices = find_space(JOINT, Scope(models, STRIDES, SIZES)), random.Random(0)
    study, buildable = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), list[TrialConfig]()
    while len(buildable) < configs:
        parts = space.sample(study.ask())
        config = TrialConfig.from_dict({**TrialConfig().to_dict(), **parts, "batch_size": choices.choice(BATCHES)})
        config = replace(config, epochs=1, freeze_share=0.0, oversampling={"name": "none"}, mixing=[])
        try:
            check_model(config)
        except ValueError:
            continue
        buildable.append(config)
    return buildable


def measure(given: tuple[int, dict[str, Any], Path]) -> Row:
    """Train a config for an epoch of few photos; returns what it is and the peak of its memory."""
    number, content, folder = given
    config = TrialConfig.from_dict(content)
    release_memory()
    network = footprint(config)
    row: Row = {
        "number": number,
        "architecture": config.architecture,
        "encoder": config.encoder,
        "decoder": config.decoder,
        "image_size": config.image_size,
        "batch_size": config.batch_size,
        "optimizer": config.optimizer["name"],
        "loss": config.loss["name"],
        "ema": config.ema_decay > 0,
        "weights_mb": round(network.weights_mb, 2),
        "photo_mb": round(network.photo_mb, 2),
    }
    try:
        cache, _ = build_cache(read_training(demo_data(folder / "demo", PHOTOS)), config.image_size, folder)
        training = FoldTraining(config, FoldData.of(cache, make_folds(cache, FOLDS, 0), 0))
        figures, _ = training.epoch(1, [])
        row |= {"precision": training.config.precision, "accumulation": int(figures["accumulation"])}
        row |= {"reserved_mb": round(figures["peak_memory_mb"], 1)}
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return row


def record(configs: int, folder: Path, seconds: float) -> list[Row]:
    """Measure configs for at most so many seconds, several at a time: each peak is its process's own."""
    data = read_training(demo_data(folder / "demo", PHOTOS))
    for size in SIZES:
        build_cache(data, size, folder)
    tasks = [(number, config.to_dict(), folder) for number, config in enumerate(sample(configs))]
    deadline, rows = time.monotonic() + seconds, []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for row in pool.imap_unordered(measure, tasks):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if time.monotonic() > deadline:
                break
    return sorted(rows, key=lambda row: row["number"])


def recorded() -> tuple[str, list[Row]]:
    """Return what was recorded on what, without trainings that broke."""
    content = json.loads(FILE.read_text())
    return f"{content['device']}, PyTorch {content['torch']}", [row for row in content["rows"] if "error" not in row]


def config_of(row: Row) -> TrialConfig:
    """Return what of a recorded training's config decides its memory."""
    decisive = ("architecture", "encoder", "decoder", "image_size", "batch_size", "precision")
    return TrialConfig(**{name: row[name] for name in decisive})


def need(row: Row) -> Need:
    """Return the need of a recorded training."""
    return need_of(config_of(row), row["weights_mb"], row["photo_mb"], row["accumulation"])


def replayed(rows: list[Row], gpu_memory_gb: float, order: np.random.Generator) -> list[tuple[float, float]]:
    """Launch recorded trainings in random order; returns the share that each was given, and its peak in MB."""
    footprints, launches = {str(config_of(row)): (row["weights_mb"], row["photo_mb"]) for row in rows}, []
    with tempfile.TemporaryDirectory() as folder:
        packing = Packing(RunFolder(Path(folder)), gpu_memory_gb, lambda config: footprints[str(config)])
        for position in order.permutation(len(rows)):
            row = rows[position]
            config, peak = config_of(row), row["reserved_mb"]
            launches.append((packing.memory_share(config), peak))
            packing.learn(int(position), config, {"peak_memory_mb": peak, "accumulation": row["accumulation"]})
    return launches


def together(shares: list[float]) -> float:
    """Return how many trials a GPU holds at a time, where each goes in turn to the first of four that has room."""
    gpus: list[list[float]] = [[] for _ in range(4)]
    counts: list[int] = []
    for share in shares:
        while (fits := next((gpu for gpu in gpus if sum(gpu) + share <= 1 + 1e-9), None)) is None:
            counts.append(sum(map(len, gpus)))
            max(gpus, key=len).pop(0)
        fits.append(share)
    return float(np.mean(counts)) / len(gpus) if counts else float("nan")


def report(searches: int, after: int = 20) -> None:
    """Print how often launches exceed what they were given, on the half of the table that PARTS was not fitted to."""
    name, rows = recorded()
    rows = rows[1::2]
    print(f"{len(rows)} trainings measured on {name}; {searches} searches launch them in random order")
    for gpu in (16.9, 34.1):  # V100s
        fitting = [row for row in rows if row["reserved_mb"] + CONTEXT_MB < 1000 * gpu]
        runs = [replayed(fitting, gpu, np.random.default_rng(seed)) for seed in range(searches)]
        later = [launch for run in runs for launch in run[after:]]
        exceeded = [[peak > 1000 * gpu * share - CONTEXT_MB for share, peak in run] for run in runs]
        over, early = (np.mean([run[part] for run in exceeded]) for part in (slice(after, None), slice(after)))
        parts = [(1000 * gpu * share - CONTEXT_MB) / peak for share, peak in later if 1 / TOGETHER < share < 1]
        held = np.mean([together([share for share, _ in run[after:]]) for run in runs])
        print(
            f"V100 {gpu:.0f} GB: {over:.1%} of launches after trial {after} exceed their share ({early:.1%} before); "
            f"a share is {np.median(parts):.2f} times the peak; {held:.2f} trials share a GPU"
        )


def fit() -> None:
    """Print the parts of the estimate, least squares of the relative error over every other recorded training."""
    _, rows = recorded()
    needs, peaks = [need(row) for row in rows[::2]], np.array([row["reserved_mb"] for row in rows[::2]])
    parts = np.array([[1, estimate.weights_mb, estimate.kept_mb, estimate.megapixels] for estimate in needs])
    coefficients, _ = nnls(parts / peaks[:, None], np.ones(len(peaks)))
    errors = np.log(peaks / (parts @ coefficients))
    print(f"PARTS {', '.join(f'{part:.3g}' for part in coefficients)}; sd of the relative error {errors.std():.2f}")


def main() -> None:
    """Record, fit, or replay what was recorded."""
    parser = argparse.ArgumentParser("benchmarks.memory")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="measure N configs on this machine's GPU")
    parser.add_argument("--seconds", type=float, default=600, help="for the recording")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/memory"))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--searches", type=int, default=100)
    options = parser.parse_args()
    if options.fit:
        fit()
    elif options.record:
        if not torch.cuda.is_available():
            parser.error("--record measures a GPU's memory, and this machine has none")
        folder = options.cache_dir.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
        rows = record(options.record, folder, options.seconds)
        lines = ",\n".join(map(json.dumps, rows))
        options.out.write_text(json.dumps(content)[:-1] + f', "rows": [\n{lines}\n]}}\n')
    else:
        report(options.searches)


if __name__ == "__main__":
    main()
