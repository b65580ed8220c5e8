"""Builds an ensemble from finished trials: members, weights, views and filters, each chosen on out-of-fold predictions.

N photos, M members, C classes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ensembling.acceptance import Confusions, Gate
from analysis.ensembling.expectation import Expectation, epoch_luck, expect, trial_luck
from analysis.ensembling.filter_fitting import ClassMap, confusions_of, crf_maps, fit_crf, fit_factors, fit_pieces
from analysis.ensembling.nested_cv import Decision, decide, nested_confusions
from analysis.ensembling.out_of_fold_maps import Tick, mean_maps, view_maps, write_all
from analysis.ensembling.view_selection import Augmentation, choose_views, usable_views, view_scores
from analysis.pool.candidates import Member, Pool, read_pool, without
from analysis.pool.labelled_photos import Labelled, open_labelled
from analysis.pool.pixel_samples import DamagedMemberError, FoldMaps, Samples, draw_samples
from analysis.prediction import crf
from analysis.prediction.ensemble_file import store
from analysis.prediction.filters import scaled
from analysis.prediction.networks import Networks
from analysis.prediction.views import PLAIN, VIEWS
from trainable.counts import agrees, counted
from trainable.machine.cores import cpu_count
from trainable.metric.bootstrap import Interval, miou_interval, tallies
from trainable.run_folder.ensemble_record import Stage, Tried
from trainable.run_folder.fold_models import pooled_confusion
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.out_of_fold import Map
from trainable.storage.atomic_write import read_json

Say = Callable[[str], None]
Progress = Callable[[str, int], Tick]
"""Given a title and the number of photos to come, returns what to tell of each that is done."""


@dataclass
class Build:
    """An ensemble in the making."""

    runs: Sequence[Path]
    pool: Pool
    labelled: Labelled
    say: Say
    progress: Progress
    networks: Networks = field(default_factory=Networks)
    stages: list[Stage] = field(default_factory=list)
    gates: list[Tried] = field(default_factory=list)
    filters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the ensemble's files go."""
        return self.runs[0].absolute() / "ensemble"

    def stage(self, name: str, interval: Interval) -> None:
        """Take down what the ensemble scores after a step."""
        self.stages.append(Stage(name, *interval.bounds))


def build(
    runs: Sequence[Path],
    say: Say,
    progress: Progress,
    *,
    data: Path | None = None,
    top: int | None = None,
    views: Sequence[str] = tuple(VIEWS),
    crf_options: int = 16,
    filters: bool = True,
) -> Path:
    """Build the ensemble of some runs and store it; returns the file.

    Args:
        runs: run folders of the same data and folds.
        say: told in sentences what was found.
        progress: shows how far predictions are.
        data: where the photos are, if not where the run had them.
        top: members at most, the best ones; None takes all.
        views: of test-time augmentation to try; the photo as it is alone tries none.
        crf_options: parameters of the CRF to try; 0 leaves it out.
        filters: try post-processing at all.

    Raises:
        ValueError: runs that do not belong together, nothing kept, or other data.
    """
    pool = read_pool(runs, top)
    for note in pool.notes:
        say(f"note: {note}")
    job = Build(runs, pool, open_labelled(pool, data), say, progress)
    of_folds = agrees(len(pool.covered), "a model of fold", "models of folds") + f" {', '.join(map(str, pool.covered))}"
    photos = counted(len(job.labelled.file_names), "photo")
    say(f"{counted(len(pool.members), 'member')} with {of_folds}: {photos} out of fold")
    decision = _weights(job)
    maps, before, augmentation = _views(job, decision, views)
    if filters:
        _filters(job, maps, before, crf_options)
    expected = _expected(job, decision, before)
    say(expected.describe())
    return store(
        job.pool,
        decision.weights,
        runs,
        method=decision.method,
        reason=decision.reason,
        scores=decision.scores,
        views=tuple(augmentation.views),
        filters=tuple(job.filters),
        stages=tuple(job.stages),
        gates=tuple(job.gates),
        photos=len(job.labelled.file_names),
        folds=tuple(pool.covered),
        notes=tuple(job.pool.notes),
        expected=expected.record(),
    )


def _weights(job: Build) -> Decision:
    samples = _samples(job)
    decision = decide([member.maps for member in job.pool.members], job.labelled, samples)
    if reference := _reference(job):
        job.stage("reference recipe", reference)
    job.stage("best single trial", decision.single)
    job.stage("ensemble", decision.chosen)
    for name, score in decision.scores.items():
        job.say(f"  {score:.4f}  {name}")
    job.say(f"weights: {decision.reason}; over the best single {decision.gain:+}")
    return decision


def _expected(job: Build, decision: Decision, confusions: Confusions) -> Expectation:
    """Return what to expect of the ensemble on the test photos, or on as many as there are labelled ones."""
    shares = decision.weights.mean(1)
    used = [(member, share) for member, share in zip(job.pool.members, shares, strict=True) if share]
    epochs = sum(share * epoch_luck_of(member) for member, share in used) / sum(share for _, share in used)
    # Weights were chosen without the photos they are scored on; one member alone was chosen by them.
    rivals = [tallies(pooled_confusion(member.models)[1]) for member in job.pool.members]
    trial = trial_luck(rivals) if len(used) == 1 else 0.0
    models = sum(len(member.models) for member, _ in used)
    test = job.labelled.dataset.root / "test.json"
    unseen = len(read_json(test)["images"]) if test.exists() else len(job.labelled.dataset.photos)
    expected = expect(tallies(confusions), unseen, epochs, trial, models)
    filtered = job.stages[-1].value - expected.measured  # what filters have added, each by its gate
    return replace(
        expected, **{name: getattr(expected, name) + filtered for name in ("value", "low", "high", "measured")}
    )


def epoch_luck_of(member: Member) -> float:
    """Return by how much the choice of their epochs flatters a member's models, in the mean."""
    return float(
        np.mean([epoch_luck([row["val_miou"] for row in folder.curve()]) for folder in member.models.values()])
    )


def _samples(job: Build) -> Samples:
    """Read the members' probabilities; who cannot be read is left out."""
    while True:
        try:
            return draw_samples([member.maps for member in job.pool.members], job.labelled)
        except DamagedMemberError as error:
            job.pool = without(job.pool, error.member, error.reason)
            job.say(f"note: {job.pool.notes[-1]}")


def _reference(job: Build) -> Interval | None:
    """Return the score of the first run's reference recipe, where that is a member."""
    run = RunFolder(job.runs[0].resolve())
    first = [member for member in job.pool.members if (member.run.path, member.number) == (run.path, run.reference())]
    if not first:
        return None
    alone = {part: {"it": np.ones((1, len(job.labelled.classes)))} for part in set(job.labelled.part.tolist())}
    return miou_interval(nested_confusions([first[0].maps], job.labelled, alone)["it"])


def _views(job: Build, decision: Decision, views: Sequence[str]) -> tuple[FoldMaps, Confusions, Augmentation]:
    """Return the ensemble's out-of-fold maps over the chosen views, their confusion matrices, and the choice."""
    maps_of: dict[str, FoldMaps] = {}
    used = [member for member, weights in zip(job.pool.members, decision.weights, strict=True) if weights.any()]
    costs, notes = usable_views(views, used, job.labelled.classes)
    for note in notes:
        job.say(f"note: {note}")
    for name in costs:
        tick = job.progress(f"out of fold, {name}", len(job.labelled.file_names))
        maps_of[name] = view_maps(job.folder, name, job.pool.members, decision.nested, job.labelled, job.networks, tick)
    chosen = choose_views(maps_of, job.labelled, costs)
    if len(maps_of) > 1:
        scores = ", ".join(f"{name} {score:.4f}" for name, score in view_scores(maps_of, job.labelled).items())
        job.say(f"each view alone: {scores}")
        job.say(f"test-time augmentation: {', '.join(chosen.views)}; {chosen.reason}")
    maps = maps_of[PLAIN]
    if chosen.views != (PLAIN,):
        means = (
            pair
            for group in job.labelled.groups()
            for pair in mean_maps(
                [maps_of[name] for name in chosen.nested[int(job.labelled.part[group[0]])]], job.labelled, group
            )
        )
        maps = write_all(job.folder / "augmented.parquet", job.labelled, means)
    before = confusions_of(maps, job.labelled, lambda probabilities, _: [_classes(probabilities)])[0]
    accepted = chosen.views != (PLAIN,)
    name = "test-time augmentation"
    job.gates.append(Tried(name, accepted, chosen.gain.bounds, chosen.reason, cost=chosen.cost))
    if accepted:
        job.stage(f"+ {name}", miou_interval(before))
    return maps, before, chosen


def _filters(job: Build, maps: FoldMaps, before: Confusions, crf_options: int) -> None:
    if crf_options and not crf.available():
        job.say("note: no CRF: pydensecrf2 is not there on this Python")
    elif crf_options:
        # Threads would wait for each other: pydensecrf holds Python's lock. Forked processes could inherit PyTorch's.
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as executor:
            tick = job.progress("CRF", 0)
            gate, nested = fit_crf(maps, job.labelled, before, executor, crf_options, tick)
            if _judged(job, gate):
                refined = crf_maps(maps, job.labelled, nested, executor)
                maps = write_all(job.folder / "crf.parquet", job.labelled, refined)
                before = confusions_of(maps, job.labelled, lambda probabilities, _: [_classes(probabilities)])[0]
    gate, factors = fit_factors(maps, job.labelled, before)
    accepted = _judged(job, gate)

    def classes(probabilities: Map, part: int) -> ClassMap:
        return scaled(probabilities, factors[part]).argmax(0).astype(np.uint8) if accepted else _classes(probabilities)

    if accepted:
        before = confusions_of(maps, job.labelled, lambda probabilities, part: [classes(probabilities, part)])[0]
    _judged(job, fit_pieces(maps, job.labelled, classes, before))


def _judged(job: Build, gate: Gate) -> bool:
    """Take down what became of a filter."""
    job.gates.append(gate.record())
    job.say(f"{gate.name}: {'accepted' if gate.accepted else 'left out'}, {gate.reason}")
    if gate.accepted:
        job.filters.append({"name": gate.name, **gate.params})
        job.stage(f"+ {gate.name}", gate.after)
    return gate.accepted


def _classes(probabilities: Map) -> ClassMap:
    return probabilities.argmax(0).astype(np.uint8)
