"""A whole search, from the command to the leaderboard, against its trials' own training seconds.

    python -m benchmarks.search_overhead [search/run.py options]

Bar: wall <= 1.15 x (training seconds / concurrent trials) + 15 s.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainable.machine.cores import cpu_count
from trainable.run_folder.folders import RunFolder

ROOT = Path(__file__).parents[1]


def main() -> None:
    concurrent = cpu_count()  # trials at a time on a machine without GPUs
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "search" / "run.py"), "--runs-dir", folder, "--name", "bench"]
        start = time.perf_counter()
        done = subprocess.run([*command, *sys.argv[1:]], capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"the search failed:\n{done.stdout}\n{done.stderr}")
        rows = [row for trial in RunFolder(Path(folder) / "bench").trials() for row in trial.curve()]
    training = sum(row["train_s"] + row["val_s"] for row in rows)
    bound = 1.15 * training / concurrent + 15
    print(f"whole search: {len(rows)} epochs, {training:.0f} training seconds, {concurrent} trials at a time")
    share = training / concurrent
    print(f"  wall {wall:.0f} s, training / concurrent {share:.0f} s: ratio {wall / share:.2f}")
    print(f"  bar 1.15 x {share:.0f} + 15 = {bound:.0f} s: {'kept' if wall <= bound else 'missed'}")


if __name__ == "__main__":
    main()
