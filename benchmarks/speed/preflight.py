"""Seconds to find which of 100 models cannot be built: python -m benchmarks.speed.preflight. Bar: 60 s per 100.

One process; a search spreads them over its workers. The first import of the libraries is counted too.
"""

import time

from search.worker.build_checks import try_models
from spaces.encoders import GROUPS, STRIDES, pairs
from trainable.config import TrialConfig


def main(size: int = 512) -> None:
    strides = {architecture: list(values) for architecture, values in STRIDES.items()}
    print(f"forward passes of models on the meta device at {size} px")
    for group in GROUPS:
        start = time.perf_counter()
        models = [list(pair) for pair in pairs(group)]
        problems = try_models(TrialConfig(image_size=size), models, [size], strides)
        seconds, bad = time.perf_counter() - start, sum(bool(next(iter(by_size.values()))) for by_size in problems)
        print(
            f"  {group:7} {len(models)} models, {bad} cannot be built: {seconds:5.1f} s, "
            f"{100 * seconds / len(models):.1f} s per 100"
        )


if __name__ == "__main__":
    main()
