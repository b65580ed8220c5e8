"""Keeps what the arms of `benchmarks.chain` have come to, and compares them.

    python -m benchmarks.chain.records [FOLDER]

Prints a line for each set, budget and seed that is recorded in the folder; the last line is json. A record is made
once: arms, and the budgets of the reference, can be run one at a time, in any order.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.engine.precision_autotune import processor
from trainable.metric.bootstrap import paired_interval, tallies
from trainable.metric.paired_comparison import miou
from trainable.storage.atomic_write import write_bytes

FOLDER = Path(__file__).parents[1] / "arms"
REFERENCE = "reference"
ARMS = (REFERENCE, "flips", "random", "stock", "ours")
TOLD = ("val_miou", "epochs", "size", "tried", "core_s", "expected")

Record = dict[str, Any]


@dataclass(frozen=True, order=True)
class Race:
    """What all arms get the same of."""

    data: str  # name of the set
    minutes: float  # of a core
    seed: int

    def file(self, folder: Path, piece: str) -> Path:
        """Return where a piece is kept."""
        return folder / f"{self.data}-{self.minutes:g}-{self.seed}-{piece}.json.gz"


def tallied(maps: NDArray[np.int64]) -> list[list[int]]:
    """Return the tallies (N, 2C) of confusion matrices (N, C, C), as json holds them."""
    rows: list[list[int]] = tallies(maps).astype(np.int64).tolist()
    return rows


def keep(folder: Path, race: Race, piece: str, make: Callable[[], Record]) -> None:
    """Make a piece's record, if it is not there: with where and when, and how long it took."""
    path = race.file(folder, piece)
    if path.exists():
        return
    began = time.monotonic()
    record, took = make(), round(time.monotonic() - began, 1)
    content = json.dumps({**record, "date": time.strftime("%Y-%m-%d"), "processor": processor(), "wall_s": took})
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path, gzip.compress(content.encode(), 9, mtime=0))


def arms_of(folder: Path, race: Race) -> dict[str, Record]:
    """Return the record of each arm that is there; of the reference, the budget that validates best."""
    pieces = {
        path.name.removesuffix(".json.gz").split("-")[-1]: json.loads(gzip.decompress(path.read_bytes()))
        for path in sorted(folder.glob(race.file(folder, "*").name))
    }
    budgets = [record for name, record in pieces.items() if name.startswith(REFERENCE)]
    if budgets:
        pieces[REFERENCE] = max(budgets, key=lambda record: float(record["val_miou"]))
        pieces["flips"] = {**pieces[REFERENCE], "tallies": {"plain": pieces[REFERENCE]["tallies"]["flips"]}}
    return {name: pieces[name] for name in ARMS if name in pieces}


def compare(folder: Path, race: Race) -> dict[str, Any]:
    """Print how the arms of one race compare, and return the figures."""
    arms = arms_of(folder, race)
    counts = {name: np.array(record["tallies"]["plain"], np.float64) for name, record in arms.items()}
    values = {name: round(miou(photo_tallies), 4) for name, photo_tallies in counts.items()}
    print(f"{race.data}, {race.minutes:g} core-minutes, seed {race.seed}: mIoU on photos that nothing has seen")
    figures: dict[str, Any] = {"set": race.data, "core_minutes": race.minutes, "seed": race.seed, "miou": values}
    for name, record in arms.items():
        details = ", ".join(f"{key} {_short(record[key])}" for key in TOLD if key in record)
        print(f"  {name:9s} {values[name]:.4f}  {details}")
    for name in [name for name in arms if "ours" in arms and name != "ours"]:
        less = paired_interval(counts["ours"], counts[name])
        print(f"  ours less {name}: {less:+}")
        figures.setdefault("ours_less", {})[name] = less.bounds
    return figures


def _short(value: Any) -> str:
    if isinstance(value, dict):  # what was expected
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Compare all that is recorded."""
    parser = argparse.ArgumentParser("benchmarks.chain.records")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    names = [path.name.removesuffix(".json.gz").rsplit("-", 3) for path in folder.glob("*.json.gz")]
    races = sorted({Race(data, float(minutes), int(seed)) for data, minutes, seed, _ in names})
    figures = [compare(folder, race) for race in races]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
