"""The machine's own limits, and what is made of trainings: searches, packing by memory, ensembles, the tests."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.prediction.ensemble_file import Ensemble, Voter
from analysis.prediction.networks import Networks, predict_photos
from analysis.prediction.views import PLAIN, VIEWS
from benchmarks import memory as recording
from benchmarks.gpu.setting import GPU, MODELS, Setting, our_stepper, timed
from benchmarks.gpu.trainings import folder_in
from search.worker.gpu_memory_model import MemoryModel
from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.dataset.demo import demo_data
from trainable.engine.checkpoint import save_tensors
from trainable.machine.cores import cpu_count
from trainable.model.segmenter import build_model
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.atomic_write import write_json

ROOT = Path(__file__).parents[2]

SEARCH_S = 150
"""Seconds after which a search is asked to end."""
RECORD_S = 45
"""Seconds for which peaks of memory are recorded."""
RAY = "import ray; ray.init('local', include_dashboard=False, log_to_driver=False); print(ray.cluster_resources())"


def machine(setting: Setting) -> None:
    """Ceilings: what the GPU, the link to it, the disk and process starts can do; whether Ray sees the GPU."""
    setting.keep("machine", torch=torch.__version__, cores=cpu_count(), gpus=torch.cuda.device_count())
    if GPU:
        _gpu_limits(setting)
    start = time.perf_counter()
    for _ in range(5):
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
    setting.keep("machine", fork_ms=200 * (time.perf_counter() - start))
    path, content = setting.work / "written", os.urandom(1 << 20) * (4 if setting.tiny else 400)
    start = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    setting.keep("machine", write_fsync_gb_per_s=len(content) / 1e9 / (time.perf_counter() - start))
    path.unlink()
    told = subprocess.run([sys.executable, "-c", RAY], capture_output=True, text=True, timeout=60, check=False)
    setting.keep("machine", ray=told.stdout.strip()[-200:] or told.stderr[-400:])


def _gpu_limits(setting: Setting) -> None:
    one = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_(0, 255)
    other = torch.empty_like(one)
    ms, _ = timed(lambda: other.copy_(one), 20, 5)
    setting.keep("machine", copy_tb_per_s=2 * one.numel() / ms / 1e9)
    left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    ms, _ = timed(lambda: left @ left, 20, 5)
    setting.keep("machine", bf16_tflops=2 * 8192**3 / ms / 1e9)
    host = torch.empty(1 << 28, dtype=torch.uint8).pin_memory()
    to_ms, _ = timed(lambda: one[: 1 << 28].copy_(host, non_blocking=True), 5, 5)
    from_ms, _ = timed(lambda: one[: 1 << 28].cpu(), 3, 1)
    setting.keep(
        "machine", to_gpu_pinned_gb_per_s=2**28 / to_ms / 1e6, from_gpu_pageable_gb_per_s=2**28 / from_ms / 1e6
    )


def search(setting: Setting) -> None:
    """A search by the command: what of the GPU's time goes into training, and what a change of trials costs."""
    options = {
        "--space": "losses", "--data": _repeated(setting), "--name": "m", "--cache-dir": setting.cache_dir,
        "--architecture": "unetplusplus", "--encoder": "mobilenet_v2", "--encoder-weights": setting.weights,
        "--image-size": max(setting.size // 2, 64), "--batch-size": setting.batch_size,
        "--trials": 2 if setting.tiny else 4, "--epochs": 2 if setting.tiny else 3,
    }  # fmt: skip
    with folder_in(setting) as runs:
        command = [sys.executable, str(ROOT / "search" / "run.py"), "--runs-dir", str(runs)]
        command += [str(word) for pair in options.items() for word in pair]
        log = runs / "log"
        start = time.perf_counter()
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
            try:
                process.wait(SEARCH_S * (3 if setting.tiny else 1))
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
        wall_s, told = time.perf_counter() - start, log.read_text()
        print(told[-6000:], flush=True)
        rows = [row for trial in RunFolder(runs / "m").trials() for row in trial.curve()]
    trained_s = sum(row["train_s"] + row["val_s"] for row in rows)
    setting.keep(
        "search",
        rc=process.returncode,
        wall_s=wall_s,
        epochs=len(rows),
        starts=told.count(" started"),
        train_and_val_s=trained_s,
        share=trained_s / wall_s,
        waited_for_photos_s=sum(row["data_s"] for row in rows),
        last=told.strip().splitlines()[-1:],
    )


def _repeated(setting: Setting) -> Path:
    """Return a data folder of as many photos as the competition's: those there are, under many names."""
    if setting.tiny:
        return demo_data(setting.work / "demo", photos=40)
    target = setting.work / "repeated"
    if not (setting.data / "train_all.json").exists():
        return setting.data
    content = json.loads((setting.data / "train_all.json").read_text())
    copies = -(-sum(setting.fold) // len(content["images"]))
    if copies == 1:
        return setting.data
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for copy in range(copies):
        for image in content["images"]:
            name = Path(image["file_name"])
            new = str(name.with_name(f"{name.stem}_{copy}{name.suffix}"))
            (target / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(setting.data / name, target / new)
            images.append({**image, "id": len(images), "file_name": new})
        position = {
            image["id"]: number for number, image in enumerate(content["images"], copy * len(content["images"]))
        }
        for each in content["annotations"]:
            annotations.append({**each, "id": len(annotations), "image_id": position[each["image_id"]]})
    write_json(target / "train_all.json", {**content, "images": images, "annotations": annotations})
    return target


def memory(setting: Setting) -> None:
    """Peaks of random configs against what packing expects of them, and a batch that does not fit."""
    if not GPU:
        setting.keep("memory", skipped="it needs a GPU")
        return
    rows = recording.record(48, setting.work, RECORD_S)
    write_json(setting.results.with_name("memory.json"), rows)
    sound = [row for row in rows if "error" not in row]
    model, ratios, exceeded = MemoryModel(), list[float](), 0
    for number, row in enumerate(sound):
        _, expected, most = model.predict(recording.need(row))
        if number >= len(sound) // 2:
            ratios.append(row["reserved_mb"] / expected)
            exceeded += row["reserved_mb"] > most
        model.observe(recording.need(row), row["reserved_mb"])
    setting.keep(
        "memory",
        configs=len(rows),
        broken=len(rows) - len(sound),
        sd_of_log_error=float(np.std(np.log(ratios))),
        exceeded=exceeded,
        of=len(ratios),
    )
    torch.cuda.set_per_process_memory_fraction(0.05)
    stepper = our_stepper(setting.settle(setting.config(MODELS[1], batch_size=2 * setting.batch_size)))
    stepper.step(*(torch.cat([tensor, tensor]) for tensor in setting.batch()))
    recomputed = len(stepper.recomputed or [])
    setting.keep("memory", way="a twentieth", parts=stepper.accumulation, recomputed=recomputed, notes=stepper.notes)


def predict(setting: Setting) -> None:
    """An ensemble's photos a second, and its networks' alone."""
    models = 2 if setting.tiny else 6
    config = setting.settle(setting.config())
    share = np.full(len(COMPETITION), 1 / models)
    paths = [photo.path for photo in read_training(setting.data).photos]
    paths = [paths[index % len(paths)] for index in range(4 if setting.tiny else 256)]
    with folder_in(setting) as folder:
        for number in range(models):
            trial = TrialFolder(folder / f"{number:04d}")
            trial.path.mkdir()
            write_json(trial.path / "config.json", config.to_dict())
            save_tensors(trial.best_weights, build_model(config).state_dict())
        voters = tuple(Voter(TrialFolder(folder / f"{number:04d}"), 0, share) for number in range(models))
        ensemble, networks = Ensemble(folder, voters, (PLAIN,), ()), Networks()
        list(predict_photos(ensemble, paths[:16], networks))  # loads them
        start = time.perf_counter()
        count = sum(1 for _ in predict_photos(ensemble, paths, networks))
        seconds = time.perf_counter() - start
        photos, network = setting.batch()[0].numpy(), networks.get(voters[0], ensemble)
        ms, _ = timed(lambda: network.probabilities(photos, VIEWS[PLAIN]), 2 if setting.tiny else 20, 2)
    alone = 1000 * setting.batch_size / ms / models
    setting.keep("predict", models=models, photos_per_s=count / seconds, networks_alone_photos_per_s=alone)


def tests(setting: Setting) -> None:
    """The tests of the training, most of which are usually run on a CPU."""
    parallel = ["-n", "8"] if importlib.util.find_spec("xdist") else []
    command = [sys.executable, "-m", "pytest", "tests/trainable", "-m", "not slow", "-p", "no:cacheprovider"]
    command += ["--collect-only"] if setting.tiny else parallel
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:], done.stderr[-2000:], flush=True)
    failed = [line[:160] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    setting.keep("tests", rc=done.returncode, failed=failed[:40], last=done.stdout.strip().splitlines()[-1:])


def compiled(setting: Setting) -> None:
    """torch.compile of the first model: what it gains, and how long it takes to begin."""
    model = ("unet", "tu-test_resnet") if setting.tiny else setting.models[0]
    stepper = our_stepper(replace(setting.settle(setting.config(model)), compile=True))
    batch = setting.batch()

    def step() -> None:
        stepper.step(*(tensor.to(stepper.device, non_blocking=True) for tensor in batch))

    start_ms, _ = timed(step, 1, 0)
    ms, cpu_ms = timed(step, 2 if setting.tiny else 20, 1 if setting.tiny else 5)
    figures = {"start_s": start_ms / 1000, "ms": ms, "cpu_ms": cpu_ms, "photos_per_s": 1000 * len(batch[0]) / ms}
    setting.keep("compiled", model="+".join(model), **figures, notes=stepper.notes)
