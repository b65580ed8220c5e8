"""Shows what the recorded curves are like, and which figure ranks their ends best.

    python -m benchmarks.replay.signals

Between configs a signal is worth its rank correlation with the end; between repeats of one config its spread is noise.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.replay.comparison import NEAR
from benchmarks.replay.recorded import Curve, read_curves

Signal = Callable[[Curve], NDArray[np.float64]]

POWERS = (0.5, 1.0)
"""Of a class's frequency, by which its IoU is weighted."""


def weighted_iou(curve: Curve, power: float) -> NDArray[np.float64]:
    """Return the mean IoU after each epoch, classes weighted by a power of their pixels in the truth, (epochs,)."""
    hits, truth, predicted = np.moveaxis(curve.classes.astype(np.float64), -1, 0)
    union = np.maximum(truth + predicted - hits, 1)
    present = truth + predicted > 0
    weights = np.where(present, truth**power, 0.0)
    result: NDArray[np.float64] = (weights * hits / union).sum(1) / weights.sum(1)
    return result


def main() -> None:
    """Print."""
    curves, _, facts = read_curves()
    console = Console(width=120)
    first = [curve for curve in curves if curve.seed == curve.fold == 0 and len(curve.classes) == facts["epochs"]]
    ends = np.array([curve.rows["val_miou"].max() for curve in first])
    low, middle, high = np.percentile(ends, (25, 50, 75))
    quartiles = f"quartiles of the best val_miou {low:.3f}, {middle:.3f}, {high:.3f}"
    console.print(f"{len(curves)} curves of {len(first)} configs; {quartiles}")
    for rest, half in enumerate(("choose", "report")):
        val_mious = [curve.rows["val_miou"] for curve in first if curve.number % 2 == rest]
        best = max(float(values.max()) for values in val_mious)
        reached = [int(np.argmax(values >= best - NEAR)) + 1 for values in val_mious if values.max() >= best - NEAR]
        console.print(
            f"{half}: best {best:.3f}, reached within {NEAR} by {len(reached)} of {len(val_mious)} configs, "
            f"after epochs {', '.join(map(str, sorted(reached)))}"
        )
    numbers = [
        number for number in {curve.number for curve in curves} if sum(curve.number == number for curve in curves) > 1
    ]
    table = Table(title="rank correlation with the best val_miou of all epochs", title_justify="left")
    table.add_column("signal")
    for epoch in range(1, 6):
        table.add_column(f"epoch {epoch}", justify="right")
    for title in ("sd of configs", f"of repeats ({len(numbers)} configs)"):
        table.add_column(title, justify="right")
    signals: dict[str, Signal] = {"val_miou": lambda curve: curve.rows["val_miou"]}
    signals |= {f"weight frequency^{power:g}": partial(weighted_iou, power=power) for power in POWERS}
    for name, signal in signals.items():
        values = np.array([signal(curve) for curve in first])
        ranks = [f"{spearmanr(values[:, epoch], ends)[0]:.2f}" for epoch in range(5)]
        repeats = [
            np.var([signal(curve)[-1] for curve in curves if curve.number == number], ddof=1) for number in numbers
        ]
        table.add_row(name, *ranks, f"{values[:, -1].std():.3f}", f"{np.mean(repeats) ** 0.5:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
