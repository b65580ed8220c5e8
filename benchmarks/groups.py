"""What each encoder of the groups takes of a GPU, by its footprint: do the groups suit the memory they are for?

python -m benchmarks.groups                 # UPerNet at 512 px in batches of 8, counted on the meta device: no GPU

The estimate is `search/worker/gpu_memory_model.py`'s, fitted to measured trainings; `benchmarks.memory` says how far it
is off. "recomputed" is with activation checkpointing, which a training turns to by itself where memory is short.
"""

import json

from search.worker.gpu_memory_model import CONTEXT_MB, need_of
from spaces.encoders import GROUPS, NOT_FREE
from trainable.config import TrialConfig
from trainable.model.activation_memory import footprint

FOR_GB = {"light": 8, "medium": 12, "large": 28, "huge": 40}
"""The smallest GPU that each group is for."""


def measure(encoder: str, image_size: int = 512, batch_size: int = 8) -> dict[str, float]:
    """Return millions of parameters that train and the GB that a training takes, plain and recomputed."""
    config = TrialConfig(architecture="upernet", encoder=encoder, image_size=image_size, batch_size=batch_size)
    size = footprint(config)
    plain, recomputed = (
        (need_of(config, size.weights_mb, photo_mb).estimate + CONTEXT_MB) / 1000
        for photo_mb in (size.photo_mb, size.recomputed_mb)
    )
    return {"parameters": round(size.weights_mb / 4), "gb": round(plain, 1), "recomputed_gb": round(recomputed, 1)}


def main() -> None:
    """Print a table of each group and of the encoders that are in none."""
    most: dict[str, dict[str, float]] = {}
    for group, encoders in {**GROUPS, "not free": NOT_FREE}.items():
        limit = f", for GPUs from {FOR_GB[group]} GB" if group in FOR_GB else ""
        print(f"{group}{limit}\n  million parameters   GB   recomputed GB")
        found = {encoder: measure(encoder) for encoder in encoders}
        for encoder, row in sorted(found.items(), key=lambda pair: pair[1]["gb"]):
            print(f"  {row['parameters']:18} {row['gb']:4.1f} {row['recomputed_gb']:15.1f}   {encoder}", flush=True)
        most[group] = {name: max(row[name] for row in found.values()) for name in ("gb", "recomputed_gb")}
    print(json.dumps({"image_size": 512, "batch_size": 8, "architecture": "upernet", "most": most}))


if __name__ == "__main__":
    main()
