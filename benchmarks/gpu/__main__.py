"""What the product does on a GPU, in sections of a minute or three.

    python -m benchmarks.gpu --data DIR --encoder-weights DIR [--only steps,epoch] [--seconds N] [--tiny]

    machine     ceilings: copies, bf16, the link, the disk, forks; does Ray see the GPU?
    steps       step time against a plain and a well-tuned loop; layouts, cuDNN's search, precisions, a CUDA graph; slow
                optimizers and losses
    epoch       whole epochs of 2,618 + 654 photos: the share of the steps alone, waiting, validation
    encoders    the largest encoders: peak memory against `benchmarks.groups`, and speed, plain and checkpointed
    replicas    one training over two GPUs against one, where there are two
    search      wall against training seconds
    packing     photos a second of 1, 2 and 4 trainings together
    parity      curves on a CPU in fp32 (three seeds), on the GPU in fp32, bf16 and fp16
    resume      equal to the bit? with deterministic algorithms?
    predict     an ensemble's photos a second against its networks alone
    tests       the training's tests on a GPU
    memory      peaks against the packing's forecast; a batch that does not fit
    compiled    torch.compile: gain and start

Each section is a process of its own with a time limit, so that one that crashes or hangs costs no other. Its figures go
to OUT/results.jsonl as they come, what it prints to OUT/measure.log. The last line is json: all figures of this call.
`--tiny` tries the script on any machine, on a CPU too: its figures mean nothing.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trainable.dataset.demo import find_data
from trainable.storage.cache_dir import default_cache_dir

SECTIONS = {
    "machine": ("whole", 60),
    "steps": ("steps", 200),
    "epoch": ("trainings", 240),
    "encoders": ("encoders", 240),
    "replicas": ("replicas", 180),
    "search": ("whole", 220),
    "packing": ("trainings", 120),
    "parity": ("trainings", 60),
    "resume": ("trainings", 45),
    "predict": ("whole", 45),
    "tests": ("whole", 90),
    "memory": ("whole", 100),
    "compiled": ("whole", 120),
}
"""By name: the module that has it, and seconds at most. In the order of what they are worth."""

ROOT = Path(__file__).parents[2]
RESULTS, LOG = "results.jsonl", "measure.log"

SHORTEST_S = 15.0
"""With less time left no section begins."""
END_S = 10.0
"""Seconds that a section which is too slow has to end what it has started."""


def main() -> int:
    """Run the sections; returns the exit status: 1 where one of them failed."""
    options = _parser().parse_args()
    if options.section:
        run_here(options)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for folder in (options.out, options.cache_dir):
        folder.mkdir(parents=True, exist_ok=True)
    options.data = find_data(options.data, options.cache_dir).absolute()
    before = len(_lines(options.out / RESULTS))
    deadline, seconds, failed = time.monotonic() + options.seconds, dict[str, float](), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="gpu-", dir=options.cache_dir, ignore_cleanup_errors=True) as work:
        for name in options.only:
            left, start = deadline - time.monotonic(), time.monotonic()
            if left < SHORTEST_S:
                failed[name] = "no time left"
                continue
            limit = SECTIONS[name][1] * (5 if options.tiny else 1)
            if fault := run_section(name, options, Path(work), min(limit, left)):
                failed[name] = fault
            seconds[name] = round(time.monotonic() - start, 1)
            print(f"{name}: {seconds[name]:.0f} s{f', FAILED: {fault}' if fault else ''}", flush=True)
    rows = [json.loads(line) for line in _lines(options.out / RESULTS)[before:]]
    print(*map(table_line, rows), sep="\n")
    print(json.dumps({"tiny": options.tiny, "figures": rows, "seconds": seconds, "failed": failed}))
    return 1 if failed else 0


def run_section(name: str, options: argparse.Namespace, work: Path, limit: float) -> str:
    """Run a section in a process of its own; returns why it failed, or nothing.

    Args:
        name: of the section.
        options: of the command line.
        work: folder for what need not stay.
        limit: seconds.
    """
    command = [sys.executable, "-m", "benchmarks.gpu", "--section", name, "--work", str(work)]
    command += ["--data", str(options.data), "--out", str(options.out), "--cache-dir", str(options.cache_dir)]
    if options.encoder_weights:
        command += ["--encoder-weights", str(options.encoder_weights)]
    command += ["--tiny"] if options.tiny else []
    with (options.out / LOG).open("a") as log:
        log.write(f"==== {name}\n")
        log.flush()
        told_from = log.tell()
        # A group of its own, to be ended with all that it starts, but no session: that would outlive this command.
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            preexec_fn=os.setpgrp,
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            end(process)
            return f"ended after its {limit:.0f} s"
        except BaseException:
            end(process)
            raise
    if process.returncode == 0:
        return ""
    with (options.out / LOG).open(errors="replace") as log:
        log.seek(told_from)
        return f"{' | '.join(log.read().strip().splitlines()[-3:])[-600:]} (exit status {process.returncode})"


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it has started, which may first end what they have."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)  # raises once all are gone
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_here(options: argparse.Namespace) -> None:
    """Run one section in this process."""
    import torch

    from benchmarks.gpu.setting import Setting

    torch.set_num_threads(1)  # as trials do
    module = importlib.import_module(f"benchmarks.gpu.{SECTIONS[options.section][0]}")
    setting = Setting(
        options.data,
        options.encoder_weights,
        options.out / RESULTS,
        options.cache_dir,
        options.work,
        tiny=options.tiny,
    )
    getattr(module, options.section)(setting)


def table_line(row: dict[str, Any]) -> str:
    """Return figures for people."""
    names = [str(value) for name, value in row.items() if isinstance(value, str) and name not in ("section", "device")]
    figures = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if not isinstance(value, str)
    ]
    return f"{row['section']:9} {' '.join(names):44} {'  '.join(figures)}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"it takes {', '.join(SECTIONS)}, joined by commas; found {unknown[0]!r}")
    return names


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=_folder, metavar="DIR", help="annotated photos (default: the demo data)")
    parser.add_argument("--encoder-weights", type=_folder, metavar="DIR", help="of mobilenet_v2 (default: random)")
    parser.add_argument(
        "--only", type=_sections, default=list(SECTIONS), metavar="NAMES", help="sections, joined by commas"
    )
    parser.add_argument("--seconds", type=float, default=540.0, metavar="N", help="none begins after (default 540)")
    parser.add_argument("--tiny", action="store_true", help="tries the script: the figures mean nothing")
    parser.add_argument("--out", type=_folder, default="runs/gpu", metavar="DIR", help="(default runs/gpu)")
    parser.add_argument(
        "--cache-dir",
        type=_folder,
        default=default_cache_dir(),
        metavar="DIR",
        help="decoded photos (default %(default)s)",
    )
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
