"""What 2,000 trials that cost nothing leave behind: memory of the driver, files, lines, and the time to resume.

python -m benchmarks.long_run [--trials 2000]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from trainable.run_folder.folders import RunFolder

SETTLED = 100
"""Trials after which everything that a search imports has been imported."""

CHECKPOINTS = (".safetensors",)


def search(run: Path, trials: int, out: Path) -> tuple[dict[int, float], float, float]:
    """Run a toy search until its trials have ended.

    Returns:
        The driver's memory in MB by the number of trials there were; seconds to the first new trial; seconds in all.
    """
    before, memory, first = len(list(run.glob("trials/*"))), {}, 0.0
    command = [sys.executable, "-m", "benchmarks.parts.toy", str(run), "--trials", str(trials), "--epochs", "1"]
    began = time.monotonic()
    with out.open("w") as log:
        driver = subprocess.Popen([*command, "--concurrent", "2"], stdout=log, stderr=log)
        process = psutil.Process(driver.pid)
        while driver.poll() is None:
            count = len(list(run.glob("trials/*")))
            if count > before and not first:
                first = time.monotonic() - began
            try:
                memory[count] = process.memory_info().rss / 1e6
            except psutil.Error:
                break
            time.sleep(0.05 if not first else 1)
        if driver.wait() != 0:
            raise RuntimeError(f"the search ended with {driver.returncode}: {out.read_text()[-2000:]}")
    return memory, first, time.monotonic() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    root = Path(tempfile.mkdtemp(prefix="long-run-"))
    run, out = root / "run", root / "out"
    try:
        memory, fresh, seconds = search(run, trials, out)
        lines = len(out.read_text().splitlines())
        folders = RunFolder(run).trials()
        files = [sum(path.suffix not in CHECKPOINTS for path in folder.path.iterdir()) for folder in folders]
        _, resumed, _ = search(run, trials + 1, root / "again")
        settled = memory[min(count for count in memory if count >= min(SETTLED, trials // 2))]
        table = Table(title=f"{len(folders)} trials in {seconds / 60:.1f} min ({seconds / trials * 1000:.0f} ms each)")
        for title in ("", "measured", "at most"):
            table.add_column(title, justify="left" if not title else "right")
        growth = max(value for count, value in memory.items() if count >= SETTLED) - settled
        table.add_row(f"driver's memory after {SETTLED} trials", f"{settled:.0f} MB", "")
        table.add_row("growth from there to the end", f"{growth:.0f} MB", "100 MB")
        table.add_row("files per trial beside checkpoints", f"{max(files)}", "3")
        table.add_row("lines of output per trial", f"{lines / trials:.2f}", "3")
        table.add_row("resume: command to first new trial", f"{resumed:.1f} s", "10 s")
        table.add_row("the same for a new, empty run", f"{fresh:.1f} s", "")
        Console(width=100).print(table)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
