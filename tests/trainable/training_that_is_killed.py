"""A training in a process of its own, for a test to kill: python -m ... DATA FOLDER LOG, which has what it tells."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.conftest import SIDE, SMALLEST
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.fold import train_fold
from trainable.run_folder.folders import TrialFolder

EPOCHS = 15


def made_of(data: Path) -> tuple[TrialConfig, FoldData]:
    """Return a config and a fold of some photos."""
    cache = build_cache(read_training(data), SIDE, data.parent / "cache")[0]
    return replace(SMALLEST, epochs=EPOCHS, batch_size=5), FoldData.of(cache, make_folds(cache, 4, seed=0), 0)


def main() -> None:
    """Train, and write down what is told."""
    data, folder, log = map(Path, sys.argv[1:])
    config, fold = made_of(data)

    def report(row: dict[str, float]) -> None:
        with log.open("a") as file:
            file.write(f"{row['epoch']:.0f}\n")

    train_fold(config, fold, TrialFolder(folder), report, behind=True)


if __name__ == "__main__":
    main()
