"""Makes all that trials share before the first one starts: data, caches, folds and the run folder's records."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.preparation.encoder_weights_folder import fingerprints
from search.settings.plan import Plan
from search.tuning.compatibility import MEASURED
from search.worker.trial_runner import TrialSetting
from trainable.classes import COMPETITION
from trainable.counts import agrees, counted
from trainable.data_errors import Problem, data_notes
from trainable.data_facts.advice import advice, alike, summary
from trainable.data_facts.facts import DataFacts
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.extra_photos import Extra
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds
from trainable.labelled_photos import Dataset
from trainable.machine.called_as import command_line
from trainable.run_folder.folders import CLASSES_FILE, RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import SEARCH_FORMAT
from trainable.storage.remote import Remote
from trainable.storage.remote_data import local_data

PACKAGES = ("torch", "segmentation-models-pytorch", "timm", "albumentations", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Prepared:
    """The data of a run, ready to train on."""

    dataset: Dataset
    caches: dict[int, Cache]  # by image size
    folds: Folds
    skipped: tuple[Problem, ...]
    extra: Extra | None
    data: dict[int, FoldData]  # of the plan's fold, further photos included, by image size


def prepare(
    plan: Plan,
    run: RunFolder,
    dataset: Dataset,
    resume: bool,
    console: Console,
    promoted: Folds | None = None,
    classes: str | None = None,
) -> Prepared:
    """Check and cache the data and deal the folds; nothing of it is in the run's folder yet.

    Args:
        plan: what to search.
        run: whose folds a resume takes.
        dataset: the photos as read.
        resume: go on with the run's own folds.
        console: told what is worth knowing of the data.
        promoted: the folds of a run whose configs are promoted, which are this one's too.
        classes: as --classes was given.

    Raises:
        DataError: the data has problems.
        DiskFullError: the caches do not fit.
        ValueError: the folds do not fit the data, a resumed run's data has changed, or the space cannot use the data.
    """
    announced: set[str] = set()

    def announce(message: str) -> None:
        if message not in announced:  # further photos are read for each image size
            console.print(message, highlight=False, soft_wrap=True)
        announced.add(message)

    caches: dict[int, Cache] = {}
    skipped: tuple[Problem, ...] = ()
    for size in plan.image_sizes:
        caches[size], skipped = build_cache(
            dataset,
            size,
            Path(plan.cache_dir),
            geometry=plan.frames,
            skip_bad=plan.skip_bad,
            announce=announce,
        )
    cache = caches[plan.config.image_size]
    extra = Extra.read(local_data(plan.extra, Path(plan.cache_dir))) if plan.extra else None
    if resume:
        check_unchanged(run, dataset, extra)
    folds = _folds(plan, run, dataset, cache, resume, promoted)
    fold, data = plan.config.fold, {}
    for size, size_cache in caches.items():
        extra_cache = (
            extra.cache(fold, folds, size_cache, size, Path(plan.cache_dir), plan.skip_bad, announce) if extra else None
        )
        data[size] = FoldData.of(size_cache, folds, fold, extra_cache, plan.skip_bad)
    if plan.data and not resume:
        for line in data_lines(dataset, cache, folds, plan.config.image_size, classes):
            console.print(line, style="bold", highlight=False, soft_wrap=True)
    _print_split(data[plan.config.image_size], cache, extra, console)
    print_notes(cache, folds, data_notes(dataset.notes, skipped), console)
    if not resume:
        console.print(fold_table(folds, console.width))
    return Prepared(dataset, caches, folds, skipped, extra, data)


def _folds(plan: Plan, run: RunFolder, dataset: Dataset, cache: Cache, resume: bool, promoted: Folds | None) -> Folds:
    """Return the folds that a run has, that it takes over, or that are dealt now, see `prepare`."""
    if not (resume or promoted):
        return make_folds(cache, plan.folds, plan.config.seed, dataset.given if plan.folds == 1 else None)
    folds = promoted or Folds.read(run.folds)
    if set(folds.fold_of) != set(cache.file_names):
        whose = "the run whose configs are promoted" if promoted else f"run {run.path.name}"
        raise ValueError(
            f"{whose} began with {counted(len(folds.fold_of), 'photo')}, {dataset.root} now gives "
            f"{len(cache.file_names)} usable ones: restore them, or start a new run"
        )
    return folds


def data_lines(
    dataset: Dataset, cache: Cache, folds: Folds, image_size: int, classes: str | None = None
) -> tuple[str, str]:
    """Return what a data set was read as, and the most important thing to mind of it.

    Args:
        dataset: as read.
        cache: of its usable photos, at an image size.
        folds: of the photos; that scenes lie on both sides of a given split is their warning.
        image_size: that of the cache.
        classes: as --classes was given.
    """
    facts = DataFacts.of_cache(dataset, cache, image_size)
    first = (folds.count > 1 and alike(facts, folds.largest_scene)) or advice(facts)[0]
    look = command_line(
        "analysis/data_report.py", "--data", str(dataset.root), *(["--classes", classes] if classes else [])
    )
    return summary(facts), f"{first.text}; more: {look}"


def create(
    plan: Plan, run: RunFolder, prepared: Prepared, more: Mapping[str, Any] | None = None, command: str = ""
) -> None:
    """Write a new run's records, and more json files by their names; search.json comes last and makes it a run.

    Args:
        plan: what it will do.
        run: its folder.
        prepared: data, caches and folds.
        more: contents by file names.
        command: that asks for the same once more.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    prepared.folds.write(run.folds)
    of_classes = {} if plan.classes == COMPETITION else {CLASSES_FILE: plan.class_table}
    for name, content in {**(more or {}), **of_classes}.items():
        write_json(run.path / name, content)
    write_json(run.path / "search.json", record(plan, prepared, command))
    if run.uri:
        Remote(run.uri).push(run.path)


def setting_of(plan: Plan, run: RunFolder, prepared: Prepared) -> TrialSetting:
    """Return what all trials share."""
    paths = {size: cache.path for size, cache in prepared.caches.items()}
    return TrialSetting(
        run.path,
        plan.data,
        paths,
        plan.skip_bad,
        plan.extra,
        run.uri,
        classes=plan.classes,
        geometry=plan.frames,
    )


def record(plan: Plan, prepared: Prepared, command: str) -> dict[str, Any]:
    """Return the content of search.json: what was asked, of which data, by which versions."""
    return {
        "format": SEARCH_FORMAT,
        "command": command,
        "plan": asdict(plan),
        **MEASURED,
        "classes": list(plan.classes.names),
        "data_hash": prepared.dataset.json_hash,
        "extra": prepared.extra.record() if prepared.extra else None,
        "folds_hash": prepared.folds.hash,
        "weights": fingerprints(plan),
        "skipped": [asdict(problem) for problem in prepared.skipped],
        "notes": [asdict(note) for note in prepared.dataset.notes],
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def commit() -> str | None:
    """Return the checkout's commit, marked where files differ from it; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def check_unchanged(run: RunFolder, dataset: Dataset, extra: Extra | None) -> None:
    """See that a run's data and further photos are those it began with.

    Raises:
        ValueError: they are not.
    """
    began = run.search()
    if began["data_hash"] != dataset.json_hash:
        raise ValueError(
            f"the annotations in {dataset.root} have changed since run {run.path.name} began: their hash is "
            f"{dataset.json_hash[:12]}, recorded {began['data_hash'][:12]}. Its trials could not be compared; start a "
            "new run"
        )
    recorded, current = began.get("extra"), extra.record() if extra else None
    if recorded != current:
        before, now = (f"those of hash {entry['hash'][:12]}" if entry else "none" for entry in (recorded, current))
        raise ValueError(
            f"run {run.path.name} began with other extra photos: {before}, --extra now gives {now}. Its trials could "
            "not be compared; restore the folder, or start a new run"
        )


def _print_split(data: FoldData, cache: Cache, extra: Extra | None, console: Console) -> None:
    labelled, count = len(cache.file_names), len(data.train)
    further = int((data.train >= labelled).sum())
    validate = f"{len(data.val)} {agrees(len(data.val), 'validates', 'validate')}"
    message = f"{labelled} photos: {count - further} {agrees(count - further, 'trains', 'train')}, {validate}"
    if extra:
        trains = f"{counted(further, 'extra photo')} {agrees(further, 'trains', 'train')} too"
        message += f"; {trains} ({extra.describe()})"
        if left_out := len(data.cache.file_names) - labelled - further:
            one, many = "is left out: it is a labelled photo or", "are left out: they are labelled photos or"
            message += f", {left_out} {agrees(left_out, one, many)} of their scenes"
    console.print(message, highlight=False, soft_wrap=True)


def print_notes(cache: Cache, folds: Folds, of_data: list[str], console: Console) -> None:
    """Print what is allowed but worth knowing; `of_data` is what was mended or left out of it."""
    empty = int((cache.annotation_counts == 0).sum())
    notes = []
    if empty:
        have, are = agrees(empty, "has", "have"), agrees(empty, "it is", "they are")
        what = f"{are} all background" if cache.classes.background else f"{are} ignored"
        notes.append(f"{counted(empty, 'photo')} {have} no annotation: {what}")
    if folds.scenes and folds.count > 1:  # where the data says what validates, folds.warning tells of scenes
        notes.append(f"scenes of several photos, each kept in one fold: {folds.scenes}")
    notes += [f"{line} (all in search.json)" for line in of_data]
    absent: dict[str, list[str]] = {}
    for fold, name in folds.absent():
        absent.setdefault(name, []).append(str(fold))
    notes += [f"{name} is on no photo of fold {', '.join(numbers)}" for name, numbers in absent.items()]
    lines = [f"note: {note}" for note in notes] + ([f"warning: {folds.warning}"] if folds.warning else [])
    for line in lines:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)


def fold_table(folds: Folds, width: int) -> Group:
    """Return the photos of each fold that hold each class: a row for each class, as there are more of them than folds.

    Args:
        folds: as dealt.
        width: of the terminal; folds that do not fit beside the others follow below them, so that no name or figure is
            cut off.
    """
    first = int(folds.classes[0].casefold() == "background")  # every photo has some
    names = ("photos", *folds.classes[first:])
    of_folds = enumerate(zip(folds.sizes, folds.photos_with_class, strict=True))
    columns = [[str(cell) for cell in (fold, photos, *counts[first:])] for fold, (photos, counts) in of_folds]
    # Characters of a fold, with those between.
    column_width = 2 + max(len(cell) for column in columns for cell in column)
    per_table = max((width - max(map(len, names))) // column_width, 1)
    tables = []
    for start in range(0, len(columns), per_table):
        table_columns = columns[start : start + per_table]
        table = Table(header_style="bold", box=None, pad_edge=False)
        table.add_column("fold", no_wrap=True)
        for column in table_columns:
            table.add_column(column[0], justify="right", no_wrap=True, min_width=column_width - 2)
        for name, *cells in zip(names, *(column[1:] for column in table_columns), strict=True):
            table.add_row(name, *cells)
        tables.append(table)
    return Group(Text("Photos with each class, by fold", "italic"), *tables)
