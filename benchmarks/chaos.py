"""Searches that are killed and starved of disk at random moments, and what is left of them (`make chaos`).

Each search is of the toy of `benchmarks/parts/toy.py`, one trial at a time, with the real searcher, scheduler and
records. Its rows (trial, epoch, val_miou) must be those of an undisturbed serial replay of the same seed.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.parts.toy import plan_of, value_of
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from search.tuning.study import StudySearch, open_study
from spaces.table import find_space
from trainable.run_folder.folders import RunFolder

TRIALS, EPOCHS, EPOCH_S = 16, 6, 0.2  # the last trials are TPE's, by forecasts
STATE_BYTES, DISK_BYTES = 200_000, 24_000_000
LIMIT_S = 240
"""Seconds that one search may take, restarts included."""

Rows = set[tuple[int, int, float]]


class Replayed:
    """What a scheduler needs to know of a Tune trial."""

    def __init__(self, name: str, config: dict):
        self.trial_id, self.config = name, config


def replay(seed: int, root: Path) -> Rows:
    """Run the search in this process, one epoch after another, without Ray."""
    plan, run = plan_of(TRIALS, EPOCHS, seed), RunFolder(root)
    run.path.mkdir(parents=True)
    space = find_space(plan.space, plan.scope)
    thawing = Thawing(run, EPOCHS, TRIALS)
    search = StudySearch(run, open_study(run, space), space, plan.config, plan.trials, thawing)
    scheduler: Any = ThawingScheduler(thawing)
    for turn in itertools.count():
        config = search.suggest(str(turn))
        if config == StudySearch.FINISHED:
            return rows_of(run)
        trial, folder = Replayed(str(turn), config), run.trial(config["number"])
        folder.last_state.touch()
        rows = folder.curve()
        on = not rows or scheduler.on_trial_result(None, trial, rows[-1]) == scheduler.CONTINUE
        while on:
            epoch = len(rows) + 1
            rows.append({"epoch": epoch, "val_miou": value_of(config["config"], epoch)})
            folder.write_curve(rows)
            on = scheduler.on_trial_result(None, trial, rows[-1]) == scheduler.CONTINUE
            if on:
                search.on_trial_result(trial.trial_id, rows[-1])
        search.on_trial_complete(trial.trial_id, rows[-1])
    raise AssertionError


def rows_of(run: RunFolder) -> Rows:
    """Return all rows of a run's curves."""
    paths = sorted(run.path.glob("trials/*/curve.csv"))
    return {
        (int(path.parent.name), int(row["epoch"]), row["val_miou"])
        for path in paths
        for row in run.trial(int(path.parent.name)).curve()
    }


class Search:
    """One disturbed search: starts its driver, again after each death, and disturbs it."""

    def __init__(self, root: Path, seed: int):
        self.root, self.seed, self.run = root, seed, RunFolder(root / "run")
        self.log, self.out = root.with_name(f"{root.name}.computed"), root.with_name(f"{root.name}.out")
        self.starts = 0
        self.disturbed: Counter[str] = Counter()
        self.driver: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the driver; the second time and later it goes on."""
        environment = {
            **os.environ,
            "TOY_EPOCH_S": str(EPOCH_S),
            "TOY_LOG": str(self.log),
            "TOY_STATE_BYTES": str(STATE_BYTES),
        }
        command = [
            sys.executable,
            "-m",
            "benchmarks.parts.toy",
            str(self.run.path),
            "--trials",
            str(TRIALS),
            "--epochs",
            str(EPOCHS),
            "--seed",
            str(self.seed),
        ]
        with self.out.open("ab") as out:
            self.driver = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
        self.starts += 1

    def processes(self, what: str) -> list[psutil.Process]:
        """Return the driver's processes of a kind: `driver`, `raylet` or `worker`."""
        assert self.driver
        if what == "driver":
            return [psutil.Process(self.driver.pid)]
        processes = []
        name = "raylet/raylet" if what == "raylet" else "ray::ResourceTrainable"
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.driver.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):  # it may end at any moment
                    if name in " ".join(process.cmdline()):
                        processes.append(process)
        return processes

    def disturb(self, kind: str) -> None:
        """Kill something, or fill the disk for three seconds."""
        if kind == "disk":
            ballast = self.root / "ballast"
            with contextlib.suppress(OSError):  # so much the fuller
                ballast.write_bytes(b"x" * (shutil.disk_usage(self.root).free - 1000))
            time.sleep(3)
            ballast.unlink(missing_ok=True)
            self.disturbed[kind] += 1
            return
        for _ in range(20):
            for process in self.processes(kind)[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    self.disturbed[kind] += 1
                    return
            time.sleep(0.1)

    def ended(self) -> int:
        """Return how many epochs are on record."""
        return len(rows_of(self.run)) if self.run.path.exists() else 0

    def clean(self) -> None:
        """End what a killed driver has left: the processes of its session."""
        assert self.driver
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.driver.pid:
                    process.kill()
            except (OSError, psutil.Error):
                continue


def disturbed_search(search: Search, chance: random.Random, kinds: list[str]) -> bool:
    """Run a search to its end under disturbances; returns whether it came there in time."""
    deadline = time.monotonic() + LIMIT_S
    marks = sorted(chance.sample(range(2, 36), len(kinds)))
    search.start()
    assert search.driver
    while time.monotonic() < deadline:
        status = search.driver.poll()
        if status is not None:
            search.clean()
            if status == 0:
                return True
            search.start()
        if kinds and search.ended() >= marks[0] and search.processes("worker"):
            time.sleep(chance.uniform(0, 1.2 * EPOCH_S))
            marks.pop(0)
            if search.driver.poll() is None:
                search.disturb(kinds.pop(0))
        time.sleep(0.05)
    search.driver.send_signal(signal.SIGKILL)
    search.clean()
    return False


def mounted(root: Path) -> bool:
    """Give a search a disk of its own, small enough to fill; only root can."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(root)], capture_output=True
    )
    return mount.returncode == 0


def main() -> int:
    """Run the searches and print the table; returns the exit status: 0 if nothing was lost."""
    parser = argparse.ArgumentParser("benchmarks.chaos")
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    title = f"{options.searches} searches of {TRIALS} trials x {EPOCHS} epochs"
    table = Table(box=None, title=title, title_justify="left")
    for name in ("seed", "killed: driver", "worker", "raylet", "disk full", "rows", "same rows", "computed twice"):
        table.add_column(name, justify="right")
    total: Counter[str] = Counter()
    lost = twice_total = rows_total = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for seed in range(options.first, options.first + options.searches):
            chance = random.Random(seed)
            kinds = chance.choices(["driver", "worker", "raylet", "disk"], k=chance.randint(1, 3))
            root = Path(folder) / str(seed)
            root.mkdir()
            own_disk = mounted(root)
            try:
                expected = replay(seed, Path(folder) / f"{seed}.replay")
                search = Search(root, seed)
                whole = disturbed_search(search, chance, [kind for kind in kinds if own_disk or kind != "disk"])
                rows = rows_of(search.run)
                computed = Counter(search.log.read_text().splitlines())
                twice = sum(computed.values()) - len(computed)
                same = whole and rows == expected
                fine = same and twice <= sum(search.disturbed.values()) and set(computed.values()) <= {1, 2, 3}
                lost += not fine
                total += search.disturbed
                twice_total, rows_total = twice_total + twice, rows_total + len(rows)
                counts = [str(search.disturbed[kind]) for kind in ("driver", "worker", "raylet", "disk")]
                table.add_row(str(seed), *counts, str(len(rows)), "yes" if same else "NO", str(twice))
                summary = f"seed {seed}: {dict(search.disturbed)} rows {len(rows)} {'the same' if same else 'DIFFER'}, "
                print(f"{summary}{twice} computed twice, {search.starts} starts", flush=True)
                if not fine:
                    print(search.out.read_text()[-3000:], sorted(expected ^ rows), sep="\n", flush=True)
            finally:
                if own_disk:
                    subprocess.run(["umount", "-l", str(root)], check=False)
    counts = [str(total[kind]) for kind in ("driver", "worker", "raylet", "disk")]
    verdict = f"{options.searches - lost} of {options.searches}"
    table.add_row("all", *counts, str(rows_total), verdict, str(twice_total), style="bold")
    Console(width=120).print(table)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
