"""What longer trainings, more members and flips gain: reads what `python -m benchmarks.long_curves` has recorded.

    python -m benchmarks.budgets [FILE]

Prints the tables of docs/budgets.md. The last line is json. `--pack FOLDER` makes FILE from a folder of single records.
"""

import argparse
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analysis.ensembling.expectation import stands_out

FILE = Path(__file__).parent / "gpu" / "2026-11-27-h200-long-curves.json.gz"
COLUMNS = ("val_miou", "test_miou", "train_loss", "val_loss")
LATE = 6
"""Of a training, the last sixth: its mean says what a config comes to without the luck of an epoch."""

Array = NDArray[np.float64]
Curves = Mapping[tuple[str, int], dict[str, Array]]
"""By config and epochs, each column."""


def pack(folder: Path, file: Path, facts: dict[str, Any]) -> None:
    """Write one file of a folder's records."""
    trainings = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and "rows" in content:
            content.pop("trial")
            columns = [name for name in COLUMNS if name in content["rows"][0]]
            rows = [[round(row[name], 5) for name in columns] for row in content["rows"]]
            trainings.append({**content, "columns": columns, "rows": rows})
    scored = json.loads((folder / "ensembles.json").read_text())
    rounded = [
        {**ensemble, **{name: round(ensemble[name], 5) for name in ("test", "val") if name in ensemble}}
        for ensemble in scored
    ]
    configs = json.loads((folder / "configs.json").read_text())
    whole = {**facts, "configs": configs, "trainings": trainings, "ensembles": rounded}
    file.write_bytes(gzip.compress(json.dumps(whole, separators=(",", ":")).encode(), 9, mtime=0))


def curves_of(content: dict[str, Any], size: int = 96) -> Curves:
    """Return the curves of single trainings at an image size that held a fold out."""
    return {
        (training["config"], training["cycles"][0]): {
            name: np.array([row[index] for row in training["rows"]]) for index, name in enumerate(training["columns"])
        }
        for training in content["trainings"]
        if len(training["cycles"]) == 1
        and not training["whole"]
        and training["state"] == "finished"
        and training.get("size", 96) == size
    }


def late(curve: Array) -> float:
    """Return the mean over the last sixth."""
    return float(curve[-max(len(curve) // LATE, 1) :].mean())


def main() -> None:
    """Print what the curves say."""
    parser = argparse.ArgumentParser("benchmarks.budgets")
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--pack", type=Path, metavar="FOLDER")
    parser.add_argument("--facts", type=json.loads, default={}, help="card, date and so on, as json")
    options = parser.parse_args()
    if options.pack:
        pack(options.pack, options.file, options.facts)
    content = json.loads(gzip.decompress(options.file.read_bytes()))
    curves = curves_of(content)
    figures: dict[str, Any] = {"ends": _ends(curves), "ranks": _ranks(curves)}
    figures |= {"members": _members(content), "luck": _luck(curves), "sizes": _sizes(content)}
    print(json.dumps(figures))


def _ends(curves: Curves) -> dict[str, Any]:
    budgets = sorted({epochs for _, epochs in curves})
    main = [name for name in dict.fromkeys(name for name, _ in curves) if ":" not in name]
    print("mIoU on the test part: at the best validated epoch, and the mean of the last sixth of all epochs")
    print(f"{'config':12s}" + "".join(f"{epochs:>8d} epochs" for epochs in budgets))
    for name in main:
        cells = []
        for epochs in budgets:
            if (curve := curves.get((name, epochs))) is None:
                cells.append(f"{'-':>15s}")
                continue
            best = curve["test_miou"][int(curve["val_miou"].argmax())]
            cells.append(f"{best:8.3f} {late(curve['test_miou']):6.3f}")
        print(f"{name:12s}" + "".join(cells))
    common = [name for name in main if all((name, epochs) in curves for epochs in budgets)]
    means = {
        epochs: round(float(np.mean([late(curves[name, epochs]["test_miou"]) for name in common])), 4)
        for epochs in budgets
    }
    print(f"mean of the last sixth over the {len(common)} configs with all budgets: {means}\n")
    return {str(epochs): value for epochs, value in means.items()}


def _ranks(curves: Curves) -> dict[str, Any]:
    ranks = {}
    budgets = sorted({epochs for _, epochs in curves})
    print("rank correlation of a short budget's best validated epoch with what a longer one comes to on the test part")
    for short in budgets:
        for long in [epochs for epochs in budgets if epochs > short]:
            names = [name for name, epochs in curves if epochs == long and ":" not in name and (name, short) in curves]
            ends = [late(curves[name, long]["test_miou"]) for name in names]
            own = float(spearmanr([curves[name, short]["val_miou"].max() for name in names], ends)[0])
            part = float(spearmanr([curves[name, long]["val_miou"][:short].max() for name in names], ends)[0])
            of = f"{short} to {long} epochs, {len(names)} configs"
            print(f"  {of}: {own:.2f}; the first {short} of the {long}: {part:.2f}")
            ranks[f"{short}-{long}"] = [round(own, 2), round(part, 2)]
    print()
    return ranks


def _members(content: dict[str, Any]) -> dict[str, Any]:
    means = {}
    print("mean mIoU on the test part of all sets of so many members, and of the tenth that validates best")
    scored = [
        ensemble
        for ensemble in content["ensembles"]
        if not ensemble["whole"] and not any(":" in name for name in ensemble["members"])
    ]
    for epochs in sorted({ensemble["epochs"] for ensemble in scored}):
        for size in (1, 2, 3):
            cells = []
            for flips in (False, True):
                chosen = sorted(
                    (
                        ensemble
                        for ensemble in scored
                        if ensemble["epochs"] == epochs
                        and len(ensemble["members"]) == size
                        and ensemble["flips"] == flips
                    ),
                    key=lambda ensemble: -float(ensemble["val"]),
                )
                cells += [
                    np.mean([ensemble["test"] for ensemble in chosen]),
                    np.mean([ensemble["test"] for ensemble in chosen[: max(len(chosen) // 10, 1)]]),
                ]
            details = f"{cells[0]:.3f}, best tenth {cells[1]:.3f}; with flips {cells[2]:.3f}, {cells[3]:.3f}"
            print(f"  {epochs:3d} epochs, {size} members: {details}")
            means[f"{size}x{epochs}"] = [round(float(cell), 4) for cell in cells]
    print()
    return means


def _sizes(content: dict[str, Any]) -> dict[str, Any]:
    """Compare image sizes over the configs that have both, with the same epochs."""
    means = {}
    first = curves_of(content)
    for size in sorted({training.get("size", 96) for training in content["trainings"]} - {96}):
        pairs = [
            (late(curve["test_miou"]), late(first[job]["test_miou"]))
            for job, curve in curves_of(content, size).items()
            if job in first
        ]
        larger, smaller = np.mean(pairs, axis=0)
        print(f"{size} px, {len(pairs)} trainings: {larger:.4f} on the test part, at 96 px {smaller:.4f}")
        means[str(size)] = [round(float(larger), 4), round(float(smaller), 4), len(pairs)]
    return means


def _luck(curves: Curves) -> dict[str, Any]:
    pairs = np.array(
        [
            [stands_out(curve["val_miou"], curve[name]) for name in ("val_miou", "test_miou")]
            for curve in curves.values()
        ]
    )
    on_val, on_test = pairs.mean(0)
    details = f"{on_val:.4f} there and by {on_test:.4f} on the test part: {1 - on_test / on_val:.0%} is luck"
    print(f"the best validated epoch stands out by {details}")
    return {"val": round(float(on_val), 4), "test": round(float(on_test), 4), "trainings": len(pairs)}


if __name__ == "__main__":
    main()
