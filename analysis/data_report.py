"""A look at the data before a search, on one page: python analysis/data_report.py --data DIR.

What was read and how, classes and their shares, sizes of photos and objects, photos that look alike, all problems,
photos beside their masks, and the search that suits the data. The page needs no network.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.reporting import data_sections as tell
from analysis.reporting import page
from trainable.classes import Classes
from trainable.config import TrialConfig
from trainable.data_errors import DataError
from trainable.data_facts.advice import advice, run_command, summary
from trainable.data_facts.facts import DataFacts
from trainable.data_facts.reading import read_facts
from trainable.geometry import SIZE_ON_CPU, SIZE_ON_GPU
from trainable.machine.command import Parser, add_classes, command
from trainable.machine.gpu_devices import has_gpu
from trainable.machine.terminal import open_console, short_path
from trainable.storage.atomic_write import write_bytes
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.remote_data import local_data

SAMPLES = 12
"""Photos beside their masks."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser("analysis/data_report.py", description="A look at the data before a search, on one page.")
    parser.add_argument("--data", required=True, metavar="DIR", help="photos with labels: a folder, or a URI")
    add_classes(parser)
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help=f"of the longer side in training (default {SIZE_ON_CPU} / {SIZE_ON_GPU} without / with a GPU)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="page to write (default: data_report_NAME.html here)")
    parser.add_argument("--photos", type=int, default=SAMPLES, metavar="N", help=f"with masks (default {SAMPLES})")
    parser.add_argument("--skip-bad", action="store_true", help="bad photos are no error: a search is to skip them too")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Write the page; returns the exit status."""
    if options.photos < 1:
        raise ValueError(f"--photos must be at least 1, found {options.photos}")
    gpu = has_gpu()
    size = options.image_size or (SIZE_ON_GPU if gpu else SIZE_ON_CPU)
    TrialConfig(image_size=size)  # refuses what a search would
    data = local_data(options.data, default_cache_dir())
    out = options.out or Path(f"data_report_{data.name}.html")
    if not out.absolute().parent.is_dir():  # before minutes of work
        raise ValueError(f"there is no folder {out.parent}, where --out {out.name} goes; make it, or name another")
    console = open_console()
    facts = _read(options, data, size, console)
    search = run_command(facts, gpu, _given(options, facts))
    content = report(facts, search, options.photos, gpu)
    write_bytes(out, content.encode())
    _print(facts, search, console)
    console.print(f"wrote {short_path(out.absolute())} ({len(content) / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
    if facts.dataset.problems and not options.skip_bad:
        raise DataError(facts.dataset.root, facts.dataset.problems)
    return 0


def report(facts: DataFacts, search: str, photos: int = SAMPLES, gpu: bool = False) -> str:
    """Return the page.

    Args:
        facts: of the data.
        search: the command of a search that suits it.
        photos: to show beside their masks.
        gpu: whether this machine has one.
    """
    sections = [
        ("top", "", tell.head(facts, advice(facts), search)),
        ("samples", "Photos and masks", tell.sample_photos(facts, photos)),
        ("classes", "Classes", tell.classes(facts)),
        ("sizes", "Photo sizes", tell.photo_sizes(facts)),
        ("objects", "Object sizes", tell.object_sizes(facts)),
        ("scenes", "Photos that look alike", tell.scenes(facts)),
        ("odd", "Odd photos", tell.odd_photos(facts)),
        ("problems", "Problems", tell.problems(facts)),
        ("made", "Provenance", tell.provenance(facts, _size_note(gpu))),
    ]
    if facts.dataset.problems:  # they come first
        sections.insert(1, sections.pop(-2))
    return page.page(f"Trashsweep: {facts.dataset.root.name}", sections)


def _size_note(gpu: bool) -> list[str]:
    if gpu:
        return []
    return [
        f"this machine has no GPU, where a search trains at {SIZE_ON_CPU} px unless told otherwise; "
        f"--image-size {SIZE_ON_GPU} shows the data as a search on a GPU has it"
    ]


def _read(options: argparse.Namespace, data: Path, size: int, console: Console) -> DataFacts:
    classes = Classes.from_file(Path(options.classes)) if options.classes else None
    with console.status(f"reading {short_path(data)}") as status:
        return read_facts(
            data, size, classes, lambda done, photos: status.update(f"looking at photos: {done} of {photos}")
        )


def _given(options: argparse.Namespace, facts: DataFacts) -> Sequence[str]:
    """Return the words of this command that a search takes too."""
    words = ["--classes", options.classes] if options.classes else []
    words += ["--image-size", str(options.image_size)] if options.image_size else []
    return [*words, "--skip-bad"] if facts.dataset.problems else words


def _print(facts: DataFacts, search: str, console: Console) -> None:
    console.print(summary(facts), highlight=False, soft_wrap=True)
    for told in advice(facts):
        style, word = ("yellow", "warning") if told.warning else ("", "note")
        console.print(f"{word}: {told.text}", style=style, highlight=False, soft_wrap=True)
    console.print(f"next:\n  {search}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
