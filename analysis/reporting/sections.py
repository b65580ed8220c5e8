"""What the report tells, one function per section; each returns html."""

from collections.abc import Sequence
from contextlib import suppress

from analysis.reporting import figures, page
from analysis.reporting.page import Cell, number, paragraph, text
from analysis.reporting.pictures import pictures, trial_to_draw, varied, worst
from analysis.results.board import Board, Entry
from analysis.results.exports import explained, finalists_explained, folds_of, millions
from analysis.results.importances import important, open_study
from analysis.results.params import shared
from trainable.counts import counted
from trainable.machine.called_as import command_line
from trainable.machine.terminal import short_path
from trainable.run_folder.chain_phases import EXPECTED, longer_runs, read_phases, run_of_phase
from trainable.run_folder.ensemble_record import read_ensemble
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import ENDED
from trainable.storage.record_checks import DAMAGE

MOST_SHARED = 16
"""Parameters told of what the best trials share."""

NO_SPACE = "none"
"""The space that varies nothing."""

ENSEMBLE = "ensemble/ensemble.json"


def head(board: Board) -> str:
    """What the runs were, whether they are over, and the key numbers."""
    results = board.found
    names = " and ".join(run.path.name for run in results.runs)
    unfinished = results.unfinished()
    told = ", ".join(dict.fromkeys(what_it_is(search) for search in results.searches))
    state = "" if unfinished else "; all trials have ended"
    parts = [f"<h1>{text(names)}</h1>", paragraph(f"{told}{state}.", "quiet")]
    if unfinished:
        shown = "The page shows what there is so far" if results.going_on() else "Trials count by their best epoch"
        parts.append(paragraph(f"This run is {unfinished}. {shown}.", "note"))
    if results.problems:
        message = f"Files that could not be used and are left out: {len(results.problems)}. They are named below."
        parts.append(paragraph(message, "note"))
    return "".join([*parts, page.facts(_key_numbers(board))])


def what_it_is(search: SearchRecord) -> str:
    """Return what a run was, given its record: a search, or trainings of configs that came from elsewhere."""
    budget = f"{counted(search.epochs, 'epoch')} at {search.image_size} px"
    if search.given:
        origins = dict.fromkeys(origin.split("~")[0].rsplit(":", 1)[0] for origin in search.given)
        return f"The best configs of {' and '.join(origins)}, trained anew for {budget} on fold {search.fold}"
    if search.space == NO_SPACE:
        return f"One config, without a search: {budget}"
    return f"Hyperparameter search of the space {', '.join(dict.fromkeys(spaces_of(search)))}"


def spaces_of(search: SearchRecord) -> list[str]:
    """Return the spaces that a run's trials were drawn from, given its record: several if it was extended."""
    return [*(earlier.space for earlier in search.extended), search.space]


def _key_numbers(board: Board) -> list[tuple[str, str, str]]:
    trials = board.found.trials
    numbers = _expected(board.found.runs)
    if board.ranked:
        best = board.ranked[0]
        value = best.trial.best["val_miou"] if best.trial.best else float("nan")
        interval = best.place and f"95%: {best.place.interval.low:.3f} to {best.place.interval.high:.3f}"
        numbers.append(("Best val_miou", f"{value:.3f}", interval or "no interval: its matrices cannot be read"))
    ended = sum(trial.state in ENDED for trial in trials)
    numbers.append(("Trials ended", str(ended), f"{len(board.best_group())} not worse than the best"))
    used, saved = sum(len(trial.curve) for trial in trials), board.found.saved_epochs()
    share = f"{saved / (used + saved):.0%} of {used + saved}" if saved else f"{used} trained"
    numbers.append(("Epochs saved by stopping", str(saved), share))
    hours, gpu_hours = sum(trial.seconds for trial in trials) / 3600, sum(trial.gpu_hours for trial in trials)
    device_hours = f"{gpu_hours:.1f} GPU-hours" if gpu_hours else "on CPU"
    spent = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    numbers.append(("Training and validation", spent, device_hours))
    return numbers


def _expected(runs: Sequence[RunFolder]) -> list[tuple[str, str, str]]:
    """Return what the ensembles say is to be expected; a file that cannot be read is told where its steps are."""
    numbers = []
    for run in runs:
        with suppress(*DAMAGE):
            chain, file = read_phases(run), run.path / ENSEMBLE
            if file.exists() and (expected := read_ensemble(file).expected):
                held = f"90%: {expected['low']:.3f} to {expected['high']:.3f}, the ensemble on unseen photos"
                numbers.append(("Expected mIoU", f"{expected['value']:.3f}", held))
            elif chain and (value := chain.latest(EXPECTED)) is not None:
                of = f"the ensemble of {run_of_phase(run.path, 'ensemble').name} on unseen photos"
                numbers.append(("Expected mIoU", f"{value:.3f}", of))
    return numbers


def phases(run: RunFolder) -> str:
    """What each phase on the way to a submission has come to, and where; empty where the run is a search alone."""
    try:
        chain = read_phases(run)
    except DAMAGE as error:
        return paragraph(str(error), "note")
    if chain is None:
        return ""
    rows: list[list[Cell | str]] = [
        [
            phase.name,
            run_of_phase(run.path, phase.name).name,
            _long(phase.told),
            number(phase.seconds, f"{phase.seconds / 60:.1f}"),
            _long(phase.outcome()),
        ]
        for phase in chain.phases
    ]
    lines = [f"This run is the first phase of `--to {chain.to}`; the other sections of this page are of it alone."]
    lines += [f"{hint[0].upper()}{hint[1:]}."] if (hint := longer_hint(run)) else []
    submission = run.path / "submission.csv"
    lines += [f"The submission is {short_path(submission)}."] if submission.exists() else []
    told = "".join(map(paragraph, lines))
    return told + page.table(("phase", "run", "what", "minutes", "came to"), rows, "phases")


def longer_hint(run: RunFolder) -> str:
    """Say which commands report the runs of the later phases; empty where there are none."""
    commands = [command_line("analysis/report.py", "--run", short_path(path)) for path in longer_runs(run.path)]
    told = "the longer trainings and the ensemble are in runs of their own"
    return f"{told}: {', '.join(commands)}" if commands else ""


def standing(board: Board) -> str:
    """The leaderboard."""
    if not board.ranked:
        return paragraph("No trial has ended an epoch yet.")
    places = [entry.place.interval for entry in board.ranked if entry.place]
    low, high = (
        min((interval.low for interval in places), default=0.0),
        max((interval.high for interval in places), default=1.0),
    )
    titles = (
        "rank",
        "group",
        "trial",
        "val_miou",
        "95% interval",
        "at training size",
        "epochs",
        "state",
        "config",
        "parameters",
        "minutes",
        "memory",
    )
    rows = [_standing_row(board, entry, low, high) for entry in board.ranked]
    return paragraph(explained(board).replace("`", "")) + page.table(titles, rows, "leaderboard")


def _standing_row(board: Board, entry: Entry, low: float, high: float) -> list[Cell | str]:
    trial, best = entry.trial, entry.trial.best or {}
    interval = entry.place.interval if entry.place else None
    letter = f'<span class="group group-{entry.group}">{entry.group or "?"}</span>'
    memory = trial.peak_memory_mb
    return [
        number(entry.rank, str(entry.rank)),
        Cell(letter, entry.group or "~"),
        Cell(text(trial.label), trial.label),
        number(best["val_miou"], f"{best['val_miou']:.4f}"),
        Cell(f"{interval.low:.3f} to {interval.high:.3f}{page.whisker(interval, low, high)}", interval.low)
        if interval
        else Cell("–", float("-inf")),
        number(best["val_miou_full"], f"{best['val_miou_full']:.4f}"),
        number(len(trial.curve), f"{len(trial.curve)}/{trial.budget}"),
        trial.state,
        _long(board.in_short(trial)),
        number(trial.parameters, millions(trial.parameters)),
        number(trial.seconds, f"{trial.seconds / 60:.1f}"),
        number(memory, f"{(memory or 0) / 1000:.1f} GB"),
    ]


def _long(content: str) -> Cell:
    return Cell(f'<span class="long" title="{text(content)}">{text(content)}</span>', content)


def finalists(board: Board) -> str:
    """The configs of several folds."""
    folds = folds_of(board)
    rows: list[list[Cell | str]] = []
    for finalist in board.finalists:
        values = [number(finalist.val_miou_of.get(fold), f"{finalist.val_miou_of.get(fold, 0):.3f}") for fold in folds]
        letter = f'<span class="group group-{finalist.group}">{finalist.group or "?"}</span>'
        less = finalist.less_best
        rows.append(
            [
                Cell(letter, finalist.group),
                finalist.trial.label,
                number(finalist.interval.value, str(finalist.interval)),
                number(less.value, f"{less:+}") if less else Cell("–", 0.0),
                number(finalist.photos, str(finalist.photos)),
                *values,
                _long(board.in_short(finalist.trial)),
            ]
        )
    names = (f"fold {fold}" for fold in folds)
    titles = ("group", "trial", "val_miou (95% interval)", "less the first", "photos", *names, "config")
    verdict = f"<p><strong>{text(board.verdict)}</strong></p>" if board.verdict else ""
    return verdict + paragraph(finalists_explained(board)) + page.table(titles, rows, "finalists")


def stages(run: RunFolder) -> str:
    """What each step from the best trial to the submission gained; empty where no ensemble was built."""
    path = run.path / ENSEMBLE
    if not path.exists():
        return ""
    try:
        rows: list[list[Cell | str]] = [
            [
                stage.name,
                number(stage.value, f"{stage.value:.4f}"),
                number(stage.low, f"{stage.low:.3f} to {stage.high:.3f}"),
            ]
            for stage in read_ensemble(path).stages
        ]
    except DAMAGE as error:
        return paragraph(str(error), "note")
    return page.table(("step", "val_miou", "95% interval"), rows, "stages")


def curves(board: Board) -> str:
    """The learning curves."""
    explanation = "val_miou after each epoch. The best trials have a colour; a cross is where a trial was stopped."
    return paragraph(explanation) + page.figure("learning-curves", figures.learning_curves(board))


def parameters(board: Board) -> str:
    """Importance, slices and parallel coordinates of each run."""
    several = len(board.found.runs) > 1
    return "".join(
        (f"<h3>{text(run.path.name)}</h3>" if several else "") + _parameters(run, f"run{position}")
        for position, run in enumerate(board.found.runs)
    )


def _parameters(run: RunFolder, prefix: str) -> str:
    try:
        study = open_study(run)
        shares = important(study)
        names = list(shares)
        slices = figures.slices(study, names)
        drawn = [figures.importances(study, shares), figures.parallel_coordinates(study, names)]
    except ValueError as error:
        return paragraph(f"Not to be told: {error}.", "note")
    cells = "".join(
        f"<div><h4>{text(name)}</h4>{page.figure(f'{prefix}-slice-{position}', figure)}</div>"
        for position, (name, figure) in enumerate(slices.items())
    )
    explanation = (
        "By Optuna, from the trials that had their full budget and the parameters all of these sampled. Of few "
        "trials this is a hint, no more."
    )
    return (
        f"{paragraph(explanation)}{page.figure(f'{prefix}-importances', drawn[0])}<h3>val_miou by value</h3>"
        f'<div class="slices">{cells}</div><h3>Parallel coordinates</h3>'
        f'<div class="wide">{page.figure(f"{prefix}-parallel", drawn[1])}</div>'
    )


def classes(board: Board) -> str:
    """IoU by class."""
    best = counted(min(len(board.ranked), 20), "trial")
    explanation = f"Of the best {best} at {board.found.geometry.score_text}; a dash: in neither truth nor prediction."
    return f'{paragraph(explanation)}<div class="wide">{page.figure("classes", figures.class_heatmap(board))}</div>'


def common(board: Board) -> str:
    """What the best trials share."""
    best, which = board.best_trials()
    compared = shared([entry.trial.params for entry in best], [entry.trial.params for entry in board.ranked])
    apart = [parameter for parameter in compared if parameter.lift > 0][:MOST_SHARED]
    if not apart:
        return paragraph(f"{which} have nothing in common that the others lack.")
    explanation = f"{which} against all {len(board.ranked)}; what sets them apart most comes first."
    rows: list[list[Cell | str]] = [[parameter.name, parameter.best, parameter.every] for parameter in apart]
    return paragraph(explanation) + page.table(("parameter", "among the best", "among all"), rows, "shared")


def galleries(board: Board, photos: int) -> str:
    """Predictions beside the truth: photos of most classes, and those that went worst."""
    try:
        trial = trial_to_draw(board)
        run = next(run for run in board.found.runs if trial.folder.path.is_relative_to(run.path))
        chosen = {"Photos of most classes": varied(trial, photos), "Photos that went worst": worst(trial, photos)}
        drawn = {
            title: page.gallery(pictures(run, trial, names), board.found.classes) for title, names in chosen.items()
        }
    except DAMAGE as error:
        return paragraph(f"No pictures: {error}", "note")
    except ImportError:
        return paragraph("No pictures: they need PyTorch, pip install -e '.[training]'", "note")
    explanation = f"Trial {trial.label}, on photos it did not train on. From left to right: photo, truth, prediction."
    return (
        paragraph(explanation)
        + page.legend(board.found.classes)
        + "".join(f"<h3>{title}</h3>{content}" for title, content in drawn.items())
    )


def notes(board: Board) -> str:
    """Failures with their reasons, notes of trainings, files that could not be used."""
    rows: list[list[Cell | str]] = [
        [entry.trial.label, entry.trial.state, _long(entry.trial.reason), _long(board.in_short(entry.trial))]
        for entry in board.unranked
    ]
    parts = [page.table(("trial", "state", "reason", "config"), rows, "unranked")] if rows else []
    training_notes = [f"trial {trial.label}: {note}" for trial in board.found.trials for note in trial.notes]
    parts += ["<h3>Notes of the trainings</h3>", page.listing(training_notes)] if training_notes else []
    problems = board.found.problems
    parts += ["<h3>Files that could not be used</h3>", page.listing(problems)] if problems else []
    return "".join(parts) or paragraph("No trial failed, and none trained otherwise than asked.")


def provenance(board: Board) -> str:
    """Of which data, by which code and command."""
    return "".join(_provenance(run, search) for run, search in zip(board.found.runs, board.found.searches, strict=True))


def _provenance(run: RunFolder, search: SearchRecord) -> str:
    way: dict[str, str] = {}
    with suppress(*DAMAGE):
        chain = read_phases(run)
        way = {f"command with --to {chain.to}": chain.command(run.path.name)} if chain else {}
    facts = {
        "run": run.path,
        **way,
        "command that searches the same": search.content.get("command", ""),
        "data hash": search.data_hash or "",
        "folds hash": search.folds_hash or "",
        "fold that validates": "" if search.fold is None else search.fold,
        "commit": search.content.get("commit") or "none",
        "versions": ", ".join(f"{name} {version}" for name, version in search.content.get("versions", {}).items()),
    }
    pairs = "".join(f"<dt>{text(name)}</dt><dd><code>{text(value)}</code></dd>" for name, value in facts.items())
    return f"<dl>{pairs}</dl>"
