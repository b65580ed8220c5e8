"""Size, error and time of compact out-of-fold probabilities, on real photos and a trained model.

The best trial of a run predicts the photos it validated on at 256 px, and its maps are stored as trials store them. The
error is that of mIoU from the stored maps against the float probabilities. Bars: 200 kB a photo, 0.001.

python -m benchmarks.speed.probabilities --run runs/NAME
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from analysis.pool.run_data import labelled_cache
from analysis.prediction.networks import load_model
from trainable.classes import COMPETITION
from trainable.images.resampling import SCORE_SIZE
from trainable.metric.confusion import confusion_matrices, mean_iou
from trainable.metric.score_maps import at_score_size
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.out_of_fold import Maps, encoded, quantised, write_maps


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.speed.probabilities")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    run = RunFolder(parser.parse_args().run.absolute())
    trial = run.best_trial()
    cache = labelled_cache(run, SCORE_SIZE)
    names = [str(name) for name in trial.confusion()["file_names"]]
    rows = [cache.file_names.index(name) for name in names]
    model = load_model(trial)
    exact, stored = (torch.zeros(len(COMPETITION), len(COMPETITION), dtype=torch.int64) for _ in range(2))
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        path, maps, spent = Path(folder) / "maps.parquet", [], 0.0
        truth = torch.from_numpy(np.array(cache.score_masks[rows]))
        for row, mask in zip(rows, truth, strict=True):
            logits = model(torch.from_numpy(np.array(cache.images[row : row + 1])))
            own = cache.photo_sizes[row : row + 1]
            classes = at_score_size(logits.softmax(1), own).max(1).indices
            exact += confusion_matrices(mask[None], classes, len(COMPETITION))[0]
            start = time.perf_counter()
            maps += encoded(quantised(logits, own).cpu().numpy())
            spent += time.perf_counter() - start
        start = time.perf_counter()
        write_maps(path, zip(names, maps, strict=True), (SCORE_SIZE, SCORE_SIZE))
        spent += time.perf_counter() - start
        start = time.perf_counter()
        read = list(Maps.open(path).read(names))
        back = time.perf_counter() - start
        sizes = path.stat().st_size / len(names) / 1000
        for mask, scores in zip(truth, read, strict=True):
            stored += confusion_matrices(mask[None], torch.from_numpy(scores).max(0).indices[None], len(COMPETITION))[0]
    print(
        f"{len(names)} photos at {SCORE_SIZE} px, trial {trial.number}: {sizes:.0f} kB a photo (bar 200), "
        f"{1000 * spent / len(names):.1f} ms to write, {1000 * back / len(names):.1f} ms to read"
    )
    print(f"mIoU exact {mean_iou(exact):.6f}, from the stored maps {mean_iou(stored):.6f} (bar 0.001 apart)")


if __name__ == "__main__":
    main()
