"""Holds the whole chain against what its users would do without it, on photos that nothing has seen.

    python -m benchmarks.chain --data DIR --encoder-weights DIR --core-minutes 60 --seed 0 [--arms ours reference ...]

A quarter of the photos, by scenes, is set aside before anything else; each arm gets the others, the same encoders, and
the same core-seconds:

    reference   the reference recipe trained for all of it, for half, and for half on photos twice as large: the best
                one on the validation fold
    flips       the same with flips at test time
    random      half of it on random configs of `joint`, the rest on the best one of them, trained anew
    stock       the same with Ray Tune, Optuna and ASHA as they come
    ours        python search/run.py --space joint --to submission

DIR is a data folder, or demo-easy, demo-middle or demo-hard. What an arm has come to is kept in --records and not
done again. The last line is json: mIoU on the test part of each arm, and ours less each other with its paired interval
(95%).
"""

import argparse
import json
from functools import partial
from pathlib import Path

from benchmarks.chain.arms import ours, random, reference, stock
from benchmarks.chain.records import ARMS, Race, compare, keep
from benchmarks.parts.hidden import DEMO, data_folder, set_aside


def main() -> None:
    """Run the arms that are missing, and compare."""
    parser = argparse.ArgumentParser("benchmarks.chain")
    parser.add_argument("--data", required=True, help=f"a folder, or {', '.join(DEMO)}")
    parser.add_argument("--encoder-weights", type=Path, required=True)
    parser.add_argument("--core-minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--out", type=Path, default=Path("runs/chain"))
    parser.add_argument("--records", type=Path, help="folder of what arms have come to (default OUT/records)")
    options = parser.parse_args()
    data = data_folder(options.data, options.out.absolute() / "data")
    photos = set_aside(data, options.out.absolute() / data.name, options.encoder_weights.resolve())
    race = Race(data.name, options.core_minutes, options.seed)
    records, seconds = options.records or options.out / "records", options.core_minutes * 60
    makers = {"random": random, "stock": stock, "ours": ours}
    for name in options.arms:
        if name in makers:
            keep(records, race, name, partial(makers[name], photos, seconds, options.seed))
        else:
            reference(photos, seconds, race, records)
    print(json.dumps(compare(records, race)))


if __name__ == "__main__":
    main()
