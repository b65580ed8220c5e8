"""Ensemble prediction against a naive loop: CPU seconds and memory, each in processes of their own, in turns.

The naive loop is what scripts of competitions do: one model after another in fp32, all models' probabilities kept until
they are averaged. Both read the same photos from the same files with the same models. Photos are real where they are at
hand, else generated; what the weights say does not matter for the time, so they are random.

python -m benchmarks.speed.ensemble
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

MODELS, PHOTOS, SIDE, ROUNDS = 8, 48, 256, 3


def prepare(folder: Path) -> None:
    """Write models as trial folders and choose the photos."""
    from trainable.config import TrialConfig
    from trainable.engine.checkpoint import save_tensors
    from trainable.engine.precision_autotune import settle
    from trainable.model.segmenter import build_model
    from trainable.run_folder.folders import TrialFolder
    from trainable.storage.atomic_write import write_json

    config = TrialConfig(architecture="deeplabv3plus", encoder="mobilenet_v2", image_size=SIDE, threads=1)
    config = settle(config, folder)  # what a trial's config.json has: precision and memory format that were measured
    for number in range(MODELS):
        trial = TrialFolder(folder / f"{number:04d}")
        trial.path.mkdir()
        write_json(trial.path / "config.json", config.to_dict())
        save_tensors(trial.best_weights, build_model(config).state_dict())
    root = Path(os.environ.get("TRASH_DATA", Path(__file__).parents[3] / "shared" / "data" / "trash"))
    photos = sorted(root.glob("batch_0*/*.jpg"))[:PHOTOS]
    if len(photos) < PHOTOS:
        rng = np.random.default_rng(0)
        photos = [folder / f"{index}.jpg" for index in range(PHOTOS)]
        for path in photos:
            Image.fromarray(rng.integers(0, 255, (512, 512, 3)).astype(np.uint8)).save(path)
    (folder / "photos.txt").write_text("\n".join(map(str, photos)))


def ours(folder: Path) -> None:
    """Predict as `analysis/ensemble_predict.py` does."""
    from analysis.prediction.ensemble_file import Ensemble, Voter
    from analysis.prediction.networks import Networks, predict_photos
    from analysis.prediction.views import PLAIN
    from trainable.run_folder.folders import TrialFolder

    share = np.full(11, 1 / MODELS)
    voters = tuple(Voter(TrialFolder(folder / f"{number:04d}"), 0, share) for number in range(MODELS))
    photos = [Path(line) for line in (folder / "photos.txt").read_text().splitlines()]
    for probabilities in predict_photos(Ensemble(folder, voters, (PLAIN,), ()), photos, Networks()):
        probabilities.argmax(0)


def naive(folder: Path) -> None:
    """Predict with one model after another and keep what they say."""
    import cv2
    import torch
    import torch.nn.functional as F

    from analysis.prediction.networks import load_model
    from trainable.run_folder.folders import TrialFolder

    paths = (folder / "photos.txt").read_text().splitlines()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    photos = [cv2.resize(np.asarray(Image.open(path).convert("RGB")), (SIDE, SIDE)) for path in paths]
    predictions = []
    for number in range(MODELS):
        model = load_model(TrialFolder(folder / f"{number:04d}")).to(memory_format=torch.contiguous_format)
        model.memory_format = torch.contiguous_format
        batches = []
        with torch.inference_mode():
            for start in range(0, len(photos), 8):
                logits = model(torch.from_numpy(np.stack(photos[start : start + 8])))
                batches.append(F.interpolate(logits.softmax(1), (256, 256), mode="bilinear").numpy())
        predictions.append(np.concatenate(batches))
    np.mean(predictions, axis=0).argmax(1)


def peak_megabytes() -> float:
    """Return this process's peak memory; `getrusage` would give its parent's where that was larger."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(way: str, folder: Path) -> tuple[float, float]:
    """Return CPU seconds and the growth of resident memory in MB of one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.ensemble", "--way", way, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.speed.ensemble")
    parser.add_argument("--way", choices=("ours", "naive"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way:
        import analysis.predict  # noqa: F401

        before, start = peak_megabytes(), time.process_time()
        {"ours": ours, "naive": naive}[options.way](options.folder)
        print(time.process_time() - start, peak_megabytes() - before)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        measurements: dict[str, list[tuple[float, float]]] = {way: [] for way in ("naive", "ours")}
        for _ in range(ROUNDS):
            for way, values in measurements.items():
                values.append(measured(way, folder))
    seconds, megabytes = (
        {way: statistics.median(measurement[index] for measurement in values) for way, values in measurements.items()}
        for index in (0, 1)
    )
    print(f"{MODELS} models, {PHOTOS} photos at {SIDE} px")
    for way in measurements:
        print(f"  {way}: {PHOTOS / seconds[way]:.2f} photos per CPU second, {megabytes[way]:,.0f} MB")
    print(
        f"CPU time {seconds['naive'] / seconds['ours']:.2f}x (bar 1.0x), memory "
        f"1/{megabytes['naive'] / megabytes['ours']:.1f} (bar 1/4)"
    )


if __name__ == "__main__":
    main()
